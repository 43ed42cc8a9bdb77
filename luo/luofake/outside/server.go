package outside

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo/internal/uapi"
	"github.com/liveupdate/luod/luo/luofake"
)

// Server serves a kernel.
type Server struct {
	kernel   *luofake.Kernel
	listener *net.UnixListener
	mu       sync.Mutex
	next     *luofake.Kernel
	line     string
}

// Serve serves kernel at the socket of that path until it is closed.
func Serve(path string, kernel *luofake.Kernel) (*Server, error) {
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("serve a fake kernel: %w", err)
	}
	s := &Server{kernel: kernel, listener: l}
	go func() {
		for {
			c, err := l.AcceptUnix()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

// Close ends it.
func (s *Server) Close() { s.listener.Close() }

// Next returns the kernel that was jumped into, and its command line; nil if none was.
func (s *Server) Next() (*luofake.Kernel, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next, s.line
}

func (s *Server) serve(c *net.UnixConn) {
	defer c.Close()
	var q question
	files, err := receive(c, &q)
	if err != nil {
		return
	}
	defer closeAll(files)
	a, out := s.do(q, files)
	if out == nil {
		_ = send(c, a)
		return
	}
	defer out.Close()
	_ = send(c, a, int(out.Fd()))
}

// do returns a descriptor that the caller owns, if the answer has one.
func (s *Server) do(q question, files []*os.File) (a answer, out *os.File) {
	switch {
	case q.Do == present:
		return answer{OK: s.kernel.Present()}, nil
	case q.Do == open:
		f, err := s.kernel.Open()
		if errno, is := err.(unix.Errno); is {
			a.Errno = errno
		}
		return a, f
	case q.Do == name && len(files) == 1:
		a.Name, a.OK = s.kernel.SessionName(files[0])
		return a, nil
	case q.Do == ioctl && len(files) > 0 && len(q.Arg) >= 4:
		return s.ioctl(q, files)
	case q.Do == jump:
		next, err := s.kernel.Kexec()
		if err != nil {
			return answer{Error: err.Error()}, nil
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.next, s.line = next, q.CommandLine
		return answer{OK: true}, nil
	}
	return answer{Errno: unix.EINVAL}, nil
}

func (s *Server) ioctl(q question, files []*os.File) (a answer, out *os.File) {
	// Aligned as the structures are.
	words := make([]uint64, len(q.Arg)/8+1)
	arg := unsafe.Pointer(&words[0])
	bytes := unsafe.Slice((*byte)(arg), len(q.Arg))
	copy(bytes, q.Arg)
	if q.Request == uapi.ReqPreserveFD {
		if len(files) != 2 || uintptr(len(q.Arg)) != unsafe.Sizeof(uapi.FDArg{}) {
			return answer{Errno: unix.EBADF}, nil
		}
		(*uapi.FDArg)(arg).FD = int32(files[1].Fd())
	}
	if a.Errno = s.kernel.Ioctl(files[0], q.Request, arg); a.Errno != 0 {
		return a, nil
	}
	if fd := descriptor(q.Request, arg); fd != nil {
		out = os.NewFile(uintptr(*fd), "luofake")
	}
	a.Arg = slices.Clone(bytes)
	return a, out
}
