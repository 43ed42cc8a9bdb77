package restorer

import (
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// added are the seals that the kernel adds to a file with F_SEAL_EXEC that anybody may
// execute (mm/memfd.c: memfd_add_seals), as each one is that it makes for what was
// preserved (mm/memfd_luo.c: memfd_luo_retrieve).
const added = unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE | unix.F_SEAL_FUTURE_WRITE

// hardened says that f came back with the seals that the kernel adds, or with bits of
// execution that F_SEAL_EXEC lets nobody take away any more (mm/shmem.c:
// shmem_setattr). Only a copy can be as it was.
func hardened(facts vault.Facts, want manifest.File) bool {
	if want.Seals&unix.F_SEAL_EXEC == 0 {
		return false
	}
	return facts.Seals != want.Seals || want.Mode != 0 && (facts.Mode^want.Mode)&0o111 != 0
}

// own gives f the mode and the owner that want says: the kernel makes it 0777 and luod's.
// The mode comes first, since it takes the owner or CAP_FOWNER, which luod hasn't.
//
// Killed between the two: the mode is right, and the next start does the rest. Killed
// after them: nothing is left to do, and if the mode is another by then, the new owner
// has changed it.
func own(f *os.File, mode uint32, want manifest.File) error {
	if want.Mode == 0 {
		return nil
	}
	defer runtime.KeepAlive(f)
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at its mode: %w", err)
	}
	if st.Uid == want.UID && st.Gid == want.GID && int(st.Uid) != os.Geteuid() {
		return nil
	}
	stays := fmt.Sprintf("it stays in the session %s and is given to nobody", want.Session)
	if st.Mode != mode {
		if err := unix.Fchmod(int(f.Fd()), mode&0o7777); err != nil {
			return fmt.Errorf("it can't be given its mode %#o: %w; %s", mode&0o7777, err, stays)
		}
	}
	if st.Uid != want.UID || st.Gid != want.GID {
		if err := unix.Fchown(int(f.Fd()), int(want.UID), int(want.GID)); err != nil {
			return fmt.Errorf("it can't be given its owner %d:%d: %w; %s", want.UID, want.GID, err, stays)
		}
	}
	return nil
}

// reachable is the mode that a file of the mode now can get: F_SEAL_EXEC keeps what
// says who may execute it.
func reachable(now uint32, want manifest.File) uint32 {
	if want.Seals&unix.F_SEAL_EXEC == 0 {
		return want.Mode
	}
	return want.Mode&^0o111 | now&0o111
}

// settable are the flags that F_SETFL changes (fcntl(2)).
const settable = unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOATIME

// asBefore gives f the access mode and status flags that it had. The kernel
// restores every memfd as O_RDWR without other flags (mm/memfd_luo.c:
// memfd_luo_retrieve); a service that had handed its reader part a read-only
// descriptor must not find it writable, so it is opened again. It takes f, and
// returns the descriptor to use instead, or closes it.
func asBefore(f *os.File, flags int) (_ *os.File, err error) {
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if mode := flags & unix.O_ACCMODE; mode != unix.O_RDWR {
		position, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fmt.Errorf("read its position: %w", err)
		}
		again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode, 0)
		if err != nil {
			return nil, fmt.Errorf("open it again with its access mode: %w", err)
		}
		f.Close()
		f = again
		if _, err := f.Seek(position, io.SeekStart); err != nil {
			return nil, fmt.Errorf("set its position: %w", err)
		}
	}
	if flags&settable == 0 {
		return f, nil
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFL, flags&settable); err != nil {
		return nil, fmt.Errorf("set its flags: %w", err)
	}
	return f, nil
}

// NeedsCopy says that a file with these facts comes back so that only a copy of it can
// be as it was.
func NeedsCopy(facts vault.Facts) bool {
	back := vault.Facts{Seals: facts.Seals | added, Mode: unix.S_IFREG | 0o777}
	return hardened(back, manifest.File{Seals: facts.Seals, Mode: facts.Mode})
}
