package rules

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
)

// Kernel is one that the rules are tried on. *luofake.Kernel is one, and Running.
type Kernel interface {
	LUO() *luo.Kernel
	// Open opens the device; Ioctl borrows f.
	Open() (*os.File, error)
	Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno
	// Truncate is ftruncate(2).
	Truncate(f *os.File, size int64) error
}

// Running is the kernel that runs.
type Running struct{}

// LUO returns it as luo sees it.
func (Running) LUO() *luo.Kernel { return luo.New() }

// Open opens the device as soon as nobody else has it open.
func (Running) Open() (*os.File, error) {
	for range 100 {
		fd, err := unix.Open(luo.DevicePath, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err == nil {
			return os.NewFile(uintptr(fd), luo.DevicePath), nil
		}
		if err != unix.EBUSY && err != unix.EINTR {
			return nil, err
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, unix.EBUSY
}

// Ioctl is ioctl(2).
func (Running) Ioctl(f *os.File, request uint, arg unsafe.Pointer) syscall.Errno {
	defer runtime.KeepAlive(f)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(arg))
	return errno
}

// Truncate is ftruncate(2).
func (Running) Truncate(f *os.File, size int64) error { return f.Truncate(size) }

// Rule is one of the things that the kernel does.
type Rule struct {
	Name string
	// FakeOnly says why the running kernel can't be brought to show it, and RealOnly why
	// a fake can't.
	FakeOnly, RealOnly string
	// Before runs in one kernel, and After, if there is one, in the next. What they
	// return is what the kernel does otherwise.
	Before, After func(*Try) error
}

// ErrSkip says that the kernel has not what it takes to try a rule.
var ErrSkip = errors.New("this kernel can't show it")

// Try is one rule being tried on a kernel. Close it.
type Try struct {
	Kernel
	open []io.Closer
}

// Close closes all that was opened; the sessions of a rule with After must stay open
// until the kernel jumps.
func (t *Try) Close() {
	for _, c := range t.open {
		c.Close()
	}
	t.open = nil
}

func (t *Try) keep(c io.Closer) { t.open = append(t.open, c) }

// contextFor bounds the wait for the device.
func contextFor() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), luo.OpenTimeout)
}

func (t *Try) create(name string) (*luo.Session, error) {
	ctx, cancel := contextFor()
	defer cancel()
	s, err := t.LUO().CreateSession(ctx, name)
	if err == nil {
		t.keep(s)
	}
	return s, err
}

func (t *Try) retrieve(name string) (*luo.Session, error) {
	ctx, cancel := contextFor()
	defer cancel()
	s, err := t.LUO().RetrieveSession(ctx, name)
	if err == nil {
		t.keep(s)
	}
	return s, err
}

// memfd makes one with a content.
func (t *Try) memfd(flags int, content string) (*os.File, error) {
	fd, err := unix.MemfdCreate("rule", flags|unix.MFD_CLOEXEC)
	if err == unix.EINVAL {
		return nil, fmt.Errorf("%w: memfd_create with the flags %#x", ErrSkip, flags)
	}
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "rule")
	t.keep(f)
	_, err = f.WriteString(content)
	return f, err
}

// sparse makes a memfd of one hole.
func (t *Try) sparse(size int64) (*os.File, error) {
	f, err := t.memfd(0, "")
	if err == nil {
		err = f.Truncate(size)
	}
	return f, err
}

func (t *Try) fetch(s *luo.Session, token uint64) (*os.File, error) {
	f, err := s.RetrieveFD(token)
	if err == nil {
		t.keep(f)
	}
	return f, err
}

// wants compares an error with what it should be; nil means none.
func wants(what string, err, want error) error {
	if want == nil && err == nil || want != nil && errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: got %v, want %v", what, err, want)
}

// content compares what is in f from its beginning on.
func content(f *os.File, want string) error {
	st, err := f.Stat()
	if err != nil {
		return err
	}
	got := make([]byte, st.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size()), got); err != nil {
		return err
	}
	if string(got) != want {
		return fmt.Errorf("it has %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
	}
	return nil
}

func stat(f *os.File) (unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstat(int(f.Fd()), &st)
	return st, err
}

func seals(f *os.File) (int, error) { return unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0) }

func addSeals(f *os.File, seals int) error {
	_, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, seals)
	return err
}

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
