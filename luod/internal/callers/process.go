package callers

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Unit returns the service that the process behind pidfd belongs to; it borrows
// pidfd. The PID is read from the pidfd itself and the process is looked at
// again after its cgroup was read, so the answer is about that process and no
// later one. The error wraps ErrNoUnit where the process has no service.
func Unit(pidfd int) (string, error) {
	pid, err := pidOf(pidfd)
	if err != nil {
		return "", err
	}
	text, err := readShort(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("%w: read its cgroup: %v", ErrNoUnit, err)
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		return "", fmt.Errorf("%w: it is gone: %v", ErrNoUnit, err)
	}
	path, err := pathIn(text)
	if err != nil {
		return "", err
	}
	return UnitOfCgroup(path)
}

// pidOf asks the kernel (PIDFD_GET_INFO of pidfd_open(2), Linux 6.13), and an older
// one by the Pid: line of the pidfd's fdinfo; that is -1 when the process is gone and
// 0 when it is of another PID namespace.
func pidOf(pidfd int) (int, error) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_PID}
	switch err := unix.IoctlPidfdInfo(pidfd, &info); {
	case err == nil && info.Mask&unix.PIDFD_INFO_PID != 0 && info.Pid > 0:
		return int(info.Pid), nil
	case err == unix.ESRCH:
		return 0, fmt.Errorf("%w: it is gone: %v", ErrNoUnit, err)
	}
	text, err := readShort(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0, fmt.Errorf("%w: read its pidfd: %v", ErrNoUnit, err)
	}
	return pidInFdinfo(text)
}

// readShort reads a file of /proc in one go: this is done for each call of a
// service, and most of it is system calls. A longer file is read as others are.
func readShort(path string) (string, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 4096)
	n, err := unix.Read(fd, buf)
	if err == nil && n < len(buf) {
		return string(buf[:n]), nil
	}
	text, err := os.ReadFile(path)
	return string(text), err
}
