package vault

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/memfd"
)

// File is one descriptor held for a unit. The Vault owns F; everybody else
// borrows it.
type File struct {
	Unit string
	Name string
	// Serial orders the files of a unit: they are preserved in the order they
	// were handed over.
	Serial uint64
	F      *os.File

	// inode is what LUO preserves, not a descriptor (mm/memfd_luo.c: memfd_luo_get_id).
	inode fileid.ID
	size  int64
}

// Facts are what a file is, whichever descriptor of it is looked at.
type Facts struct {
	Size  int64 // bytes
	Seals int   // F_SEAL_* of fcntl(2)
	// Mode is st_mode, S_IFREG included, and UID and GID are the owner.
	Mode     uint32
	UID, GID uint32
	// Allocated is how many bytes of memory or swap it has; the rest are holes.
	Allocated int64
	inode     fileid.ID
}

// Flags borrows f and returns its O_* of fcntl(2), without O_LARGEFILE.
func Flags(f *os.File) (int, error) {
	defer runtime.KeepAlive(f)
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return 0, fmt.Errorf("read the flags of file descriptor %d: %w", f.Fd(), err)
	}
	return flags &^ unix.O_LARGEFILE, nil
}

// Look borrows f and reads its facts. The error is a *Refusal when f is of a
// type that no kernel handler preserves: mm/memfd_luo.c takes files of shmem
// with no links, which is a memfd without MFD_HUGETLB. Nothing that it does waits for a
// file system.
func Look(f *os.File) (Facts, error) {
	defer runtime.KeepAlive(f)
	fd := int(f.Fd())
	seals, err := sealsOf(foreign.Descriptor(fd))
	if err != nil {
		return Facts{}, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return Facts{}, fmt.Errorf("look at file descriptor %d: %w", fd, err)
	}
	fs := unix.Statfs_t{Type: unix.TMPFS_MAGIC}
	if device, err := memfd.Device(); err != nil || st.Dev != device {
		if err := unix.Fstatfs(fd, &fs); err != nil {
			return Facts{}, fmt.Errorf("look at the file system of file descriptor %d: %w", fd, err)
		}
	}
	switch {
	case fs.Type == unix.HUGETLBFS_MAGIC:
		return Facts{}, unsupported("it is a memfd of huge pages (MFD_HUGETLB)")
	case st.Mode&unix.S_IFMT != unix.S_IFREG || fs.Type != unix.TMPFS_MAGIC || st.Nlink != 0:
		link, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		return Facts{}, unsupported(fmt.Sprintf("it is a file on a file system (%s)", link))
	}
	return Facts{
		Size: st.Size, Seals: seals, Mode: st.Mode, UID: st.Uid, GID: st.Gid,
		Allocated: st.Blocks * 512, inode: fileid.From(&st), // stat(2): of 512 bytes each
	}, nil
}

// sealsOf refuses what is not in memory.
func sealsOf(d foreign.Descriptor) (int, error) {
	seals, err := d.Seals()
	var not *foreign.NotInMemory
	switch {
	case !errors.As(err, &not):
		return seals, err
	case not.PathOnly:
		return 0, refuse(UnsupportedFile, "%v", not)
	}
	return 0, unsupported(not.What)
}

func unsupported(what string) *Refusal {
	return refuse(UnsupportedFile, "%s, and this kernel preserves only memfds without MFD_HUGETLB", what)
}
