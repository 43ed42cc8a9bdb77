package luofake

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/internal/uapi"
)

// Kernel is a luo.Driver, safe for concurrent use.
//
// It learns of a last close when it is next asked anything: by an ioctl, an open,
// or one of the methods below.
type Kernel struct {
	mu       sync.Mutex
	absent   bool
	dead     bool
	device   *handle
	sessions []*session
	faults   map[uint]syscall.Errno
	openErr  syscall.Errno
	// memory is how much a file's holes may take, and seals are those it knows.
	memory int64
	seals  int
}

// handle is a descriptor given out whose last close is noticed: the given one is
// the writing end of a pipe, and the reading end hangs up with its last duplicate.
type handle struct {
	r        int
	dev, ino uint64
}

// session is one that is open, or that waits to be retrieved (handle nil).
type session struct {
	name     string
	incoming bool
	handle   *handle
	files    []*file
}

// file is preserved under a token. The kernel holds a reference, f, until the
// session ends; an incoming file has saved contents until it is retrieved. A
// retrieval that failed fails the same way for ever (luo_retrieve_file).
type file struct {
	token uint64
	f     *os.File
	// size is what it had when it was preserved, and must have until the end.
	size   int64
	saved  *saved
	failed syscall.Errno
}

// New returns a kernel that nothing was handed over to.
func New() *Kernel {
	return &Kernel{faults: map[uint]syscall.Errno{}, memory: ample, seals: allSeals}
}

// LUO returns the kernel as luo sees it.
func (k *Kernel) LUO() *luo.Kernel { return luo.NewWithDriver(k) }

// SetPresent says whether there is a device.
func (k *Kernel) SetPresent(present bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.absent = !present
}

// FailNext makes the next ioctl of that request number fail.
func (k *Kernel) FailNext(request uint, errno syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults[request] = errno
}

// FailNextOpen makes the next open of the device fail.
func (k *Kernel) FailNextOpen(errno syscall.Errno) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.openErr = errno
}

// Settle notices what was closed since the kernel was last asked.
func (k *Kernel) Settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
}

// DeviceOpen says whether somebody has the device open.
func (k *Kernel) DeviceOpen() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	return k.device != nil
}

// Outgoing returns the tokens of the open outgoing sessions, in the order of
// their preservation.
func (k *Kernel) Outgoing() map[string][]uint64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	all := map[string][]uint64{}
	for _, s := range k.sessions {
		if !s.incoming {
			tokens := []uint64{}
			for _, f := range s.files {
				tokens = append(tokens, f.token)
			}
			all[s.name] = tokens
		}
	}
	return all
}

// Incoming returns the names of the sessions that aren't finished by a close yet.
func (k *Kernel) Incoming() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	names := []string{}
	for _, s := range k.sessions {
		if s.incoming {
			names = append(names, s.name)
		}
	}
	return names
}

// Kexec freezes the open outgoing sessions and returns the next kernel, which
// has them as incoming ones. Everything else is gone, and k answers EIO from now
// on. After an error k is as it was: the freeze failed.
func (k *Kernel) Kexec() (*Kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	if k.dead {
		return nil, errors.New("boot the next kernel: this one is gone already")
	}
	next := New()
	for _, s := range k.sessions {
		if s.incoming {
			continue
		}
		arrived := &session{name: s.name, incoming: true}
		for _, f := range s.files {
			saved, err := f.save()
			if err != nil {
				return nil, fmt.Errorf("freeze session %q: token %d: %w", s.name, f.token, err)
			}
			arrived.files = append(arrived.files, &file{token: f.token, saved: saved})
		}
		next.sessions = append(next.sessions, arrived)
	}
	for _, s := range k.sessions {
		s.end()
	}
	if k.device != nil {
		unix.Close(k.device.r)
	}
	k.sessions, k.device, k.dead = nil, nil, true
	return next, nil
}

// settle does what the kernel does when the last descriptor of something was
// closed (luo_release, luo_session_release).
func (k *Kernel) settle() {
	if k.device != nil && k.device.closed() {
		unix.Close(k.device.r)
		k.device = nil
	}
	k.sessions = slices.DeleteFunc(k.sessions, func(s *session) bool {
		if s.handle == nil || !s.handle.closed() {
			return false
		}
		s.end()
		return true
	})
}

// end drops the kernel's references.
func (s *session) end() {
	s.release()
	if s.handle != nil {
		unix.Close(s.handle.r)
		s.handle = nil
	}
}

func (s *session) release() {
	for _, f := range s.files {
		if f.f != nil {
			f.f.Close()
		}
	}
	s.files = nil
}

// give makes a handle and the descriptor to give out.
func give() (*handle, int, error) {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return nil, -1, err
	}
	var st unix.Stat_t
	if err := unix.Fstat(p[0], &st); err != nil {
		unix.Close(p[0])
		unix.Close(p[1])
		return nil, -1, err
	}
	return &handle{r: p[0], dev: st.Dev, ino: st.Ino}, p[1], nil
}

func (h *handle) closed() bool {
	fds := []unix.PollFd{{Fd: int32(h.r)}}
	for {
		_, err := unix.Poll(fds, 0)
		if err != unix.EINTR {
			return err == nil && fds[0].Revents&unix.POLLHUP != 0
		}
	}
}

// is says whether f is a duplicate of the descriptor given out: both ends of a
// pipe have the same inode.
func (h *handle) is(f *os.File) bool {
	var st unix.Stat_t
	return h != nil && unix.Fstat(int(f.Fd()), &st) == nil && st.Dev == h.dev && st.Ino == h.ino
}

func (k *Kernel) find(f *os.File) *session {
	for _, s := range k.sessions {
		if s.handle.is(f) {
			return s
		}
	}
	return nil
}

// Present implements luo.Driver.
func (k *Kernel) Present() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.absent
}

// Open implements luo.Driver.
func (k *Kernel) Open() (*os.File, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	if errno := k.openErr; errno != 0 {
		k.openErr = 0
		return nil, errno
	}
	switch {
	case k.absent:
		return nil, unix.ENOENT
	case k.dead:
		return nil, unix.EIO
	case k.device != nil:
		return nil, unix.EBUSY
	}
	h, fd, err := give()
	if err != nil {
		return nil, err
	}
	k.device = h
	return os.NewFile(uintptr(fd), luo.DevicePath), nil
}

// SessionName implements luo.Driver.
func (k *Kernel) SessionName(f *os.File) (string, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.find(f); s != nil {
		return s.name, true
	}
	return "", false
}

// Ioctl implements luo.Driver.
func (k *Kernel) Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	if errno := k.faults[request]; errno != 0 {
		delete(k.faults, request)
		return errno
	}
	if k.dead {
		return unix.EIO
	}
	if k.device.is(f) {
		if request != uapi.ReqCreateSession && request != uapi.ReqRetrieveSession {
			return unix.EINVAL
		}
		if errno := checkSize(arg, uint32(unsafe.Sizeof(uapi.SessionArg{}))); errno != 0 {
			return errno
		}
		return k.open(request, (*uapi.SessionArg)(arg))
	}
	if s := k.find(f); s != nil {
		return s.ioctl(k, request, arg)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil {
		return unix.EBADF
	}
	return unix.ENOTTY
}

func (k *Kernel) open(request uint, a *uapi.SessionArg) syscall.Errno {
	incoming := request == uapi.ReqRetrieveSession
	name := unix.ByteSliceToString(a.Name[:])
	if !incoming && (name == "" || len(name) >= uapi.NameLength) {
		return unix.EINVAL
	}
	i := slices.IndexFunc(k.sessions, func(s *session) bool { return s.name == name && s.incoming == incoming })
	var s *session
	switch {
	case incoming && i < 0:
		return unix.ENOENT
	case incoming && k.sessions[i].handle != nil:
		return unix.EINVAL
	case incoming:
		s = k.sessions[i]
	case i >= 0:
		return unix.EEXIST
	default:
		s = &session{name: name}
	}
	h, fd, err := give()
	if err != nil {
		return unix.EMFILE
	}
	if !incoming {
		k.sessions = append(k.sessions, s)
	}
	s.handle = h
	a.FD = int32(fd)
	return 0
}
