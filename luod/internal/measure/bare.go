package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
)

// The bare ioctls: nothing but what the kernel needs to be told
// (include/uapi/linux/liveupdate.h).
const (
	preserveFD = 0xBA40
	retrieveFD = 0xBA41
)

// fdArg is struct liveupdate_session_preserve_fd and
// struct liveupdate_session_retrieve_fd.
type fdArg struct {
	Size  uint32
	FD    int32
	Token uint64
}

func ioctl(fd uintptr, request uint, arg *fdArg) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, fd, uintptr(request), uintptr(unsafe.Pointer(arg))); errno != 0 {
		return errno
	}
	return nil
}

// preserve puts files into sessions of so many.
func preserve(name string, files []*os.File, perSession int) (sessions []*luo.Session, err error) {
	device, err := luo.New().Open(context.Background())
	if err != nil {
		return nil, err
	}
	defer device.Close()
	var fd uintptr
	arg := fdArg{Size: uint32(unsafe.Sizeof(fdArg{}))}
	for i, f := range files {
		if i%perSession == 0 {
			s, err := device.CreateSession(fmt.Sprintf("measure.%s.%d", name, i/perSession))
			if err != nil {
				return sessions, err
			}
			sessions = append(sessions, s)
			fd = s.File().Fd()
		}
		arg.FD, arg.Token = int32(f.Fd()), uint64(i%perSession)+1
		if err := ioctl(fd, preserveFD, &arg); err != nil {
			return sessions, fmt.Errorf("preserve file %d: %w", i, err)
		}
	}
	runtime.KeepAlive(files)
	return sessions, nil
}

// retrieve gets all of that back, and leaves it open.
func retrieve(name string, perSession int) (took time.Duration, count int, err error) {
	began := time.Now()
	device, err := luo.New().Open(context.Background())
	if err != nil {
		return 0, 0, err
	}
	defer device.Close()
	var fd uintptr
	arg := fdArg{Size: uint32(unsafe.Sizeof(fdArg{}))}
	for i := range units * perUnit {
		if i%perSession == 0 {
			s, err := device.RetrieveSession(fmt.Sprintf("measure.%s.%d", name, i/perSession))
			if err != nil {
				return 0, count, err
			}
			kept = append(kept, s)
			fd = s.File().Fd()
		}
		arg.FD, arg.Token = -1, uint64(i%perSession)+1
		if err := ioctl(fd, retrieveFD, &arg); err != nil {
			return 0, count, fmt.Errorf("retrieve file %d: %w", i, err)
		}
		count++
	}
	return time.Since(began), count, nil
}

// kept are sessions that stay open to the end of the process.
var kept []*luo.Session
