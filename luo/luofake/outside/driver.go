package outside

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// Driver is a luo.Driver whose kernel is served at the socket of that path.
type Driver string

// ask returns descriptors that the caller owns. One who doesn't answer is EIO.
func (d Driver) ask(q question, fds ...int) (answer, []*os.File) {
	a, files, err := d.tryAsk(q, fds...)
	if err != nil {
		return answer{Errno: unix.EIO, Error: err.Error()}, nil
	}
	return a, files
}

func (d Driver) tryAsk(q question, fds ...int) (a answer, files []*os.File, err error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: string(d), Net: "unixpacket"})
	if err != nil {
		return a, nil, err
	}
	defer c.Close()
	if err := send(c, q, fds...); err != nil {
		return a, nil, err
	}
	files, err = receive(c, &a)
	return a, files, err
}

// Present implements luo.Driver.
func (d Driver) Present() bool {
	a, files := d.ask(question{Do: present})
	closeAll(files)
	return a.OK
}

// Open implements luo.Driver.
func (d Driver) Open() (*os.File, error) {
	a, files := d.ask(question{Do: open})
	if a.Errno != 0 || len(files) != 1 {
		closeAll(files)
		return nil, a.Errno
	}
	return files[0], nil
}

// SessionName implements luo.Driver.
func (d Driver) SessionName(f *os.File) (string, bool) {
	defer runtime.KeepAlive(f)
	a, files := d.ask(question{Do: name}, int(f.Fd()))
	closeAll(files)
	return a.Name, a.OK
}

// Ioctl implements luo.Driver. A descriptor in the argument goes with the message, there or back.
func (d Driver) Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno {
	defer runtime.KeepAlive(f)
	bytes := unsafe.Slice((*byte)(arg), *(*uint32)(arg))
	fds := []int{int(f.Fd())}
	if request == uapi.ReqPreserveFD {
		fds = append(fds, int((*uapi.FDArg)(arg).FD))
	}
	a, files := d.ask(question{Do: ioctl, Request: request, Arg: bytes}, fds...)
	if a.Errno != 0 {
		closeAll(files)
		return a.Errno
	}
	copy(bytes, a.Arg)
	if to := descriptor(request, arg); to != nil {
		if len(files) != 1 {
			closeAll(files)
			return unix.EIO
		}
		fd, err := unix.FcntlInt(files[0].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		closeAll(files)
		if err != nil {
			return unix.EMFILE
		}
		*to = int32(fd)
	}
	return 0
}

// descriptor is where a request puts the one that it returns.
func descriptor(request uint, arg unsafe.Pointer) *int32 {
	switch request {
	case uapi.ReqCreateSession, uapi.ReqRetrieveSession:
		return &(*uapi.SessionArg)(arg).FD
	case uapi.ReqRetrieveFD:
		return &(*uapi.FDArg)(arg).FD
	}
	return nil
}

// Jump has the kernel jump, with all that is alive at this moment, into one with that command line.
func (d Driver) Jump(commandLine string) error {
	a, files, err := d.tryAsk(question{Do: jump, CommandLine: commandLine})
	closeAll(files)
	if err == nil && a.Error != "" {
		err = errors.New(a.Error)
	}
	if err != nil {
		return fmt.Errorf("jump: %w", err)
	}
	return nil
}
