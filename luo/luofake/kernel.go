package luofake

import (
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
)

// Kernel is a luo.Driver, safe for concurrent use.
type Kernel struct {
	mu       sync.Mutex
	absent   bool
	dead     bool
	device   *handle
	sessions []*session
	faults   map[uint]syscall.Errno
}

// handle is a descriptor given out whose last close is noticed: the given one is
// the writing end of a pipe, and the reading end hangs up with its last duplicate.
type handle struct {
	r   int
	ino uint64
}

// session is one that is open, or that waits to be retrieved (handle nil).
type session struct {
	name     string
	incoming bool
	handle   *handle
	files    []*file
}

// file is preserved under a token. The kernel holds a reference, f, until the
// session ends; an incoming file has saved contents until it is retrieved.
type file struct {
	token uint64
	f     *os.File
	saved *saved
}

// saved is what the kernel carries of a memfd (mm/memfd_luo.c).
type saved struct {
	data     []byte
	position int64
	seals    int
}

// New returns a kernel that nothing was handed over to.
func New() *Kernel { return &Kernel{faults: map[uint]syscall.Errno{}} }

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

// Outgoing returns the tokens of the open outgoing sessions.
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
// on.
func (k *Kernel) Kexec() (*Kernel, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.settle()
	next := New()
	for _, s := range k.sessions {
		if s.incoming {
			s.end()
			continue
		}
		arrived := &session{name: s.name, incoming: true}
		for _, f := range s.files {
			saved, err := save(f.f)
			if err != nil {
				return nil, err
			}
			arrived.files = append(arrived.files, &file{token: f.token, saved: saved})
		}
		next.sessions = append(next.sessions, arrived)
		s.end()
	}
	k.sessions, k.dead = nil, true
	return next, nil
}

func save(f *os.File) (*saved, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	s := &saved{data: make([]byte, st.Size())}
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size()), s.data); err != nil {
		return nil, err
	}
	if s.position, err = f.Seek(0, io.SeekCurrent); err != nil {
		return nil, err
	}
	s.seals, err = unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	return s, err
}

// restore makes a new memfd of it: always O_RDWR.
func (s *saved) restore() (*os.File, error) {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "restored")
	if _, err := f.Write(s.data); err != nil {
		return nil, err
	}
	if _, err := f.Seek(s.position, io.SeekStart); err != nil {
		return nil, err
	}
	_, err = unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, s.seals)
	return f, err
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
		return nil, -1, err
	}
	return &handle{r: p[0], ino: st.Ino}, p[1], nil
}

func (h *handle) closed() bool {
	fds := []unix.PollFd{{Fd: int32(h.r)}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLHUP != 0
}

func (k *Kernel) find(f *os.File) *session {
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil {
		return nil
	}
	for _, s := range k.sessions {
		if s.handle != nil && s.handle.ino == st.Ino && st.Mode&unix.S_IFMT == unix.S_IFIFO {
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
	switch request {
	case luo.ReqCreateSession, luo.ReqRetrieveSession:
		a := (*luo.SessionArg)(arg)
		if uintptr(a.Size) < unsafe.Sizeof(*a) {
			return unix.EINVAL
		}
		return k.open(request, a)
	}
	s := k.find(f)
	if s == nil {
		return unix.ENOTTY
	}
	return s.ioctl(k, request, arg)
}

func (k *Kernel) open(request uint, a *luo.SessionArg) syscall.Errno {
	name := unix.ByteSliceToString(a.Name[:])
	if name == "" || len(name) >= luo.NameLength {
		return unix.EINVAL
	}
	incoming := request == luo.ReqRetrieveSession
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
