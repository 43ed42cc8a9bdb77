package luo

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

func eventfd(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "eventfd")
	t.Cleanup(func() { f.Close() })
	return f
}

func TestOnlyASessionsLinkNamesASession(t *testing.T) {
	d := kernelDriver{}
	closed := eventfd(t)
	closed.Close()
	// A path can't pass for a session: its link begins with a slash.
	lookalike, err := os.Create(t.TempDir() + "/anon_inode:[luo_session] a")
	if err != nil {
		t.Fatal(err)
	}
	defer lookalike.Close()
	for what, f := range map[string]*os.File{"another anonymous inode": eventfd(t), "a closed file": closed, "a lookalike": lookalike} {
		if name, ok := d.SessionName(f); ok {
			t.Errorf("%s is session %q", what, name)
		}
	}
}

// On a file of another kind the real system call must answer, not hang or panic.
func TestTheRealIoctlReportsTheErrno(t *testing.T) {
	s := New().SessionFromFile(eventfd(t))
	var e *Error
	if err := s.PreserveFD(s.File(), 3); !errors.As(err, &e) || e.Err != unix.ENOTTY || !e.HasToken || e.Token != 3 {
		t.Errorf("preserve: %v", err)
	}
	if _, err := s.RetrieveFD(0); !errors.Is(err, unix.ENOTTY) || !strings.Contains(err.Error(), "under token 0") {
		t.Errorf("retrieve: %v", err)
	}
	if err := s.Finish(); !errors.Is(err, unix.ENOTTY) || strings.Contains(err.Error(), "token") {
		t.Errorf("finish: %v", err)
	}
	if name, err := s.Name(); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("name: %q, %v", name, err)
	}
	s.Close()
	if err := s.Finish(); !errors.Is(err, unix.EBADF) {
		t.Errorf("after Close: %v", err)
	}
}

// oldKernel lacks GET_NAME: EINVAL before the number existed.
type oldKernel struct {
	kernelDriver
	errno syscall.Errno
}

func (k oldKernel) Ioctl(*os.File, uint, unsafe.Pointer) syscall.Errno { return k.errno }
func (oldKernel) SessionName(*os.File) (string, bool)                  { return "luod.a", true }

func TestTheNameComesFromTheLinkOnlyOnOldKernels(t *testing.T) {
	for errno, ok := range map[syscall.Errno]bool{unix.EINVAL: true, unix.ENOTTY: true, unix.EBADF: false} {
		name, err := NewWithDriver(oldKernel{errno: errno}).SessionFromFile(eventfd(t)).Name()
		if ok != (err == nil && name == "luod.a") || !ok && !errors.Is(err, errno) {
			t.Errorf("%v: %q, %v", errno, name, err)
		}
	}
}

func TestEveryMeaningIsPrinted(t *testing.T) {
	for o, errnos := range meanings {
		for errno, why := range errnos {
			if o == "" {
				o = opCreate
			}
			if err := newError(o, "a", errno); !strings.Contains(err.Error(), why) || !errors.Is(err, errno) {
				t.Errorf("%s: %v: got %v", o, errno, err)
			}
		}
	}
}
