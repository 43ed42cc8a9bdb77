package fakestore

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// kcmpFile is KCMP_FILE of linux/kcmp.h.
const kcmpFile = 0

// Same says whether a and b are the same open file description, as PID 1 compares what it is to store with what it
// has (systemd: same_fd in src/basic/fd-util.c). The same file opened twice is not.
func Same(a, b *os.File) (bool, error) {
	same, err := unix.FcntlInt(a.Fd(), unix.F_DUPFD_QUERY, int(b.Fd()))
	if err == nil {
		return same == 1, nil
	}
	// Linux 6.9 and older.
	pid := uintptr(os.Getpid())
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, a.Fd(), b.Fd(), 0)
	if errno != 0 {
		return false, fmt.Errorf("compare two descriptors: fcntl: %w; kcmp: %w", err, errno)
	}
	return order == 0, nil
}
