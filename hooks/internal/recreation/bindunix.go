package recreation

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
	"github.com/liveupdate/luod/internal/recipe"
)

// errRoots is why root's socket is not made anew below somebody else's directory.
var errRoots = errors.New("it belongs to root, and others than root can put another directory in place of the one it is in")

// bindUnix binds to a name, or makes the socket's file with its owner and mode
// before anybody can connect to it. bind(2) follows links on the way: where others
// than root may have put some, it is done as the user who owns the socket, whom they
// lead nowhere that he can't go himself.
func (h Host) bindUnix(fd int, s *recipe.Socket) error {
	if s.Path == "" {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "@" + string(s.Abstract)}); err != nil {
			return fmt.Errorf("bind it: %w", err)
		}
		return nil
	}
	// The address is the path that clients know, so it can't be reached in another
	// way.
	var ours, its unix.Stat_t
	if err := errors.Join(unix.Stat("/", &ours), unix.Stat(filepath.Join(h.Init, "root"), &its)); err != nil {
		return fmt.Errorf("find the root directory: %w", err)
	}
	if ours.Dev != its.Dev || ours.Ino != its.Ino {
		return errors.New("bind it: this program has another root directory than PID 1; it needs the '+' of ExecStartPre=+")
	}
	place, name, err := beneath.OpenParent("/", s.Path)
	if err != nil {
		return err
	}
	defer place.Close()
	switch {
	case place.Fixed:
		return bindIn(place, name, fd, s)
	case s.UID == 0:
		return fmt.Errorf("bind it: %w", errRoots)
	}
	return as(s.UID, s.GID, func() error { return bindIn(place, name, fd, s) })
}

// bindable says why bindUnix would not bind s there as its owner.
func bindable(place *beneath.Place, s *recipe.Socket) error {
	if s.UID == 0 {
		return errRoots
	}
	err := as(s.UID, s.GID, func() error {
		return unix.Faccessat(int(place.Dir.Fd()), ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	})
	if err != nil {
		return fmt.Errorf("it belongs to user %d, who could not make it anew in its directory: %w", s.UID, err)
	}
	return nil
}

// as has a thread of its own do what with the user's and the group's access to files,
// and without the capabilities that root has there (setfsuid(2), capabilities(7)).
func as(uid, gid uint32, what func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with it
		done <- func() error {
			// The raw calls are of this thread alone.
			if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
				return fmt.Errorf("give up the groups of root: %w", errno)
			}
			_, _ = unix.SetfsgidRetGid(int(gid))
			_, _ = unix.SetfsuidRetUid(int(uid))
			// Neither says whether it did it; asked for an impossible one it tells.
			g, _ := unix.SetfsgidRetGid(-1)
			u, _ := unix.SetfsuidRetUid(-1)
			if u != int(uid) || g != int(gid) {
				return fmt.Errorf("become user %d for files: it is user %d, group %d", uid, u, g)
			}
			return what()
		}()
	}()
	return <-done
}

// bindIn binds fd to s's path, the directory of which is place.
func bindIn(place *beneath.Place, name string, fd int, s *recipe.Socket) error {
	if err := removeStale(place.Dir, name, s); err != nil {
		return err
	}
	mask := unix.Umask(0o777)
	err := unix.Bind(fd, &unix.SockaddrUnix{Name: s.Path})
	unix.Umask(mask)
	if err != nil {
		return fmt.Errorf("bind it: %w", err)
	}
	if err := dress(place.Dir, name, fd, s); err != nil {
		_ = unix.Unlinkat(int(place.Dir.Fd()), name, 0)
		return fmt.Errorf("give the socket's file its owner and mode: %w", err)
	}
	return nil
}

// dress gives the file of the socket fd its owner and mode, and nothing else that
// somebody has put there meanwhile.
func dress(dir *os.File, name string, fd int, s *recipe.Socket) error {
	f, err := beneath.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return err
	}
	inode, device, asked := socketFile(fd)
	if st.Mode != unix.S_IFSOCK || st.Nlink != 1 || asked && (st.Ino&0xffffffff != uint64(inode) || st.Dev != device) {
		return errors.New("another has put a file in its place")
	}
	if st.Uid != s.UID || st.Gid != s.GID {
		if err := unix.Fchownat(int(f.Fd()), "", int(s.UID), int(s.GID), unix.AT_EMPTY_PATH); err != nil {
			return err
		}
	}
	return unix.Chmod(beneath.Again(f), s.Mode)
}

// removeStale removes the file of a socket that nobody has any more, such as the
// one of before the reboot, and no other.
func removeStale(dir *os.File, name string, s *recipe.Socket) error {
	f, err := beneath.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at %s: %w", s.Path, err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", s.Path, err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("at %s is a file that is no socket", s.Path)
	}
	probe, err := unix.Socket(unix.AF_UNIX, s.Type|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("look whether somebody listens at %s: %w", s.Path, err)
	}
	defer unix.Close(probe)
	if err := unix.Connect(probe, &unix.SockaddrUnix{Name: beneath.Again(f)}); !errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("somebody else has the socket %s (%v)", s.Path, err)
	}
	if err := unix.Unlinkat(int(dir.Fd()), name, 0); err != nil {
		return fmt.Errorf("remove the file of the old socket: %w", err)
	}
	return nil
}
