package foreign

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Descriptor is one that somebody handed over. Whoever has it owns it, and gives it to a
// [Bin] or makes a file of it.
type Descriptor int

// NotInMemory is an error that says what a descriptor is, such as "it is a socket".
type NotInMemory struct {
	What string
	// PathOnly says that it was opened with O_PATH, of whatever that is.
	PathOnly bool
}

func (e *NotInMemory) Error() string { return e.What }

// Seals returns F_SEAL_* of fcntl(2) for a file on tmpfs or hugetlbfs, memfds included,
// on which no call waits for anybody; of everything else the error is a *NotInMemory. It
// asks no file system: fcntl(2) does F_GET_SEALS for these two alone, and looks at nothing
// but the operations of the others (mm/memfd.c: memfd_file_seals_ptr).
func (d Descriptor) Seals() (int, error) {
	seals, err := unix.FcntlInt(uintptr(d), unix.F_GET_SEALS, 0)
	if err == nil {
		return seals, nil
	}
	flags, open := unix.FcntlInt(uintptr(d), unix.F_GETFL, 0)
	switch {
	case open != nil:
		return 0, fmt.Errorf("look at file descriptor %d: %w", d, open)
	case flags&unix.O_PATH != 0:
		return 0, &NotInMemory{"it was opened with O_PATH, which gives no access to the contents", true}
	}
	return 0, &NotInMemory{"it is " + d.kind(flags), false}
}

// kind names a descriptor's type as a person would, by its link (proc_pid_fd(5)), for
// which no file system is asked either (fs/d_path.c: only what has no path names itself,
// and nothing that is mounted begins without a slash).
func (d Descriptor) kind(flags int) string {
	link := d.link()
	switch name, rest, _ := strings.Cut(link, ":"); {
	case name == "socket":
		return "a socket"
	case name == "pipe":
		return "a pipe"
	case name == "anon_inode":
		return "an " + strings.Trim(rest, "[]")
	case flags&unix.O_DIRECTORY != 0:
		return "a directory (" + link + ")"
	case strings.HasPrefix(link, "/dev/"):
		return "a device or another file (" + link + ")"
	}
	return "a file on a file system (" + link + ")"
}

func (d Descriptor) link() string {
	link, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", d))
	if err != nil {
		return "unknown"
	}
	return link
}
