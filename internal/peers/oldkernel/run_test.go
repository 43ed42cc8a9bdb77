package oldkernel_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/peers/oldkernel"
)

func TestWhatTheOldKernelHasNot(t *testing.T) {
	if !oldkernel.Run(t) {
		return
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.GetsockoptInt(pair[0], unix.SOL_SOCKET, unix.SO_PEERPIDFD); err != unix.ENOPROTOOPT {
		t.Errorf("SO_PEERPIDFD: %v", err)
	}
	if _, err := unix.GetsockoptUcred(pair[0], unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil {
		t.Errorf("SO_PEERCRED: %v", err)
	}
	if _, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL); err != unix.EINVAL {
		t.Errorf("MFD_NOEXEC_SEAL: %v", err)
	}
	if _, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING); err != nil {
		t.Errorf("memfd_create: %v", err)
	}
	if _, _, errno := unix.Syscall6(451, 0, 0, 0, 0, 0, 0); errno != unix.ENOSYS {
		t.Errorf("cachestat: %v", errno)
	}
	pidfd, err := unix.PidfdOpen(1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlPidfdInfo(pidfd, new(unix.PidfdInfo)); err != unix.ENOTTY {
		t.Errorf("PIDFD_GET_INFO: %v", err)
	}
}
