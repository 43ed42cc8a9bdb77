// Package descriptor duplicates file descriptors. Whoever asks owns the duplicate, which is
// closed on exec; both are of one open file description.
package descriptor

import (
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// Dup borrows f and returns a duplicate of that name, which the caller owns. The error wraps
// fcntl(2)'s: EMFILE if there are too many.
func Dup(f *os.File, name string) (*os.File, error) {
	defer runtime.KeepAlive(f)
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate a file descriptor: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
