package peers

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// ErrNotSupported says that the kernel has no SO_PEERPIDFD. Such a kernel is older than
// 6.5, and has no Live Update Orchestrator, which is of 6.19, unless somebody has put it
// into an older one.
var ErrNotSupported = errors.New("this kernel can't tell which process is behind a socket (SO_PEERPIDFD, Linux 6.5)")

// ErrGone says that the process that connected a socket is gone.
var ErrGone = errors.New("the process that connected is gone")

// Of returns a pidfd of the process that connected the Unix socket fd, or that called
// listen(2) or socketpair(2) for it (unix(7)); the caller closes it. The error wraps
// ErrNotSupported, or ErrGone if the process is gone, for which some kernels return a
// pidfd all the same, of a process that is gone.
func Of(fd int) (int, error) {
	pidfd, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEERPIDFD)
	switch err {
	case nil:
		unix.CloseOnExec(pidfd) // it is already (net/core/sock.c: sk_getsockopt)
		return pidfd, nil
	case unix.ENOPROTOOPT:
		return -1, ErrNotSupported
	case unix.EINVAL, unix.ESRCH: // of the kernel's pidfd_prepare
		return -1, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return -1, fmt.Errorf("ask which process is behind a socket: %w", err)
}

// Supported says whether the kernel has SO_PEERPIDFD.
func Supported() (bool, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("find out whether the kernel tells which process is behind a socket: %w", err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	pidfd, err := Of(pair[0])
	if errors.Is(err, ErrNotSupported) {
		return false, nil
	}
	if err == nil {
		unix.Close(pidfd)
	}
	return err == nil, err
}
