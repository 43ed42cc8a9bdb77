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
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("%w: read its cgroup: %v", ErrNoUnit, err)
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		return "", fmt.Errorf("%w: it is gone: %v", ErrNoUnit, err)
	}
	path, err := pathIn(string(text))
	if err != nil {
		return "", err
	}
	return UnitOfCgroup(path)
}

// pidOf reads the Pid: line of the pidfd's fdinfo (pidfd_open(2)); it is -1
// when the process is gone and 0 when it is of another PID namespace.
func pidOf(pidfd int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return 0, fmt.Errorf("%w: read its pidfd: %v", ErrNoUnit, err)
	}
	return pidInFdinfo(string(text))
}
