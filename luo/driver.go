package luo

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DevicePath is where devtmpfs puts the device (kernel/liveupdate/luo_core.c).
const DevicePath = "/dev/liveupdate"

// Driver is what stands behind the descriptors. New uses the kernel; a test can
// bring its own.
type Driver interface {
	// Present says whether there is a device at all, without opening it.
	Present() bool
	// Open opens the device once; EBUSY says that somebody has it open.
	Open() (*os.File, error)
	// Ioctl borrows f. arg points to the structure that request takes.
	Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno
	// SessionName tells whether f is a session and which.
	SessionName(f *os.File) (string, bool)
}

// kernelDriver makes the system calls.
type kernelDriver struct{}

func (kernelDriver) Present() bool {
	var st unix.Stat_t
	return unix.Stat(DevicePath, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR
}

func (kernelDriver) Open() (*os.File, error) {
	for {
		fd, err := unix.Open(DevicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), DevicePath), nil
	}
}

func (kernelDriver) Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno {
	defer runtime.KeepAlive(f)
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(arg))
		if errno != unix.EINTR {
			return errno
		}
	}
}

// SessionName reads the link that luo_session_getfile of
// kernel/liveupdate/luo_session.c gives a session.
func (kernelDriver) SessionName(f *os.File) (string, bool) { return nameFromLink(f) }
