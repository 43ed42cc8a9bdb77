package luo

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
)

// Session owns a session's descriptor. An outgoing session (created) takes files
// for the next kernel, an incoming one (retrieved) gives out those of the
// previous; the kernel answers EINVAL to the wrong one of the two.
type Session struct {
	kernel *Kernel
	f      *os.File
}

// PreserveFD borrows f and preserves its file under token: from now on the file
// can't change its size, its holes are filled, and its contents can still be
// written. Errors: EBADF, EEXIST (token), EBUSY (the file is in a session
// already), ENOENT (no handler for its type), EOPNOTSUPP (seals), EFBIG, ENOMEM.
// (kernel/liveupdate/luo_file.c, mm/memfd_luo.c)
func (s *Session) PreserveFD(f *os.File, token uint64) error {
	arg := &uapi.FDArg{FD: int32(f.Fd()), Token: token}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	errno := s.kernel.driver.Ioctl(s.f, uapi.ReqPreserveFD, unsafe.Pointer(arg))
	runtime.KeepAlive(arg)
	runtime.KeepAlive(f)
	if errno != 0 {
		return s.error(opPreserveFD, token, errno)
	}
	return nil
}

// RetrieveFD returns a new descriptor of the file preserved under token, which
// the caller owns; asked again it returns another descriptor of the same file. The
// kernel makes it close-on-exec (luo_session.c: luo_session_retrieve_fd). A failed
// retrieval fails the same way for ever. Errors: ENOENT (token), EMFILE, ENOMEM,
// EIO.
func (s *Session) RetrieveFD(token uint64) (*os.File, error) {
	arg := &uapi.FDArg{FD: -1, Token: token}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	errno := s.kernel.driver.Ioctl(s.f, uapi.ReqRetrieveFD, unsafe.Pointer(arg))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return nil, s.error(opRetrieveFD, token, errno)
	}
	return os.NewFile(uintptr(arg.FD), "preserved"), nil
}

// Finish ends an incoming session: the kernel lets go of its files, and what was
// not retrieved is gone. The files that were retrieved live on by their own
// descriptors and may be preserved again.
func (s *Session) Finish() error {
	arg := &uapi.FinishArg{}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	errno := s.kernel.driver.Ioctl(s.f, uapi.ReqFinish, unsafe.Pointer(arg))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return s.error(opFinish, 0, errno)
	}
	return nil
}

// Name asks the kernel for the session's name. Kernels too old to be asked answer
// EINVAL (a number beyond luo_session_ioctl_ops of luo_session.c) or ENOTTY; there
// it comes from the descriptor's link. Errors: EBADF after Close.
func (s *Session) Name() (string, error) {
	arg := &uapi.NameArg{}
	arg.Size = uint32(unsafe.Sizeof(*arg))
	errno := s.kernel.driver.Ioctl(s.f, uapi.ReqGetName, unsafe.Pointer(arg))
	runtime.KeepAlive(arg)
	if errno == 0 {
		return nameString(arg.Name), nil
	}
	if errno == unix.EINVAL || errno == unix.ENOTTY {
		if name, ok := s.kernel.SessionName(s.f); ok {
			return name, nil
		}
	}
	return "", s.error(opName, 0, errno)
}

// File lends the descriptor, to be duplicated into a store or a message.
func (s *Session) File() *os.File { return s.f }

// Close closes this descriptor. When it was the last of its session, an outgoing
// session un-preserves all its files, and an incoming one is finished.
func (s *Session) Close() error { return s.f.Close() }

func (s *Session) error(op op, token uint64, errno error) error {
	name, _ := s.kernel.SessionName(s.f)
	e := newError(op, name, errno)
	e.Token, e.HasToken = token, op == opPreserveFD || op == opRetrieveFD
	return e
}
