package deadfs

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// What the kernel asks the file system for, and what it does not, is what luod goes by.
func TestWhatAsksAFileSystem(t *testing.T) {
	for what, c := range map[string]struct {
		flags int
		call  func(fd int) error
		asks  string // empty: nothing
		fails error  // of a call that asks nothing
	}{
		"fstat":                     {0, func(fd int) error { return unix.Fstat(fd, new(unix.Stat_t)) }, "GETATTR", nil},
		"fstat, opened with O_PATH": {unix.O_PATH, func(fd int) error { return unix.Fstat(fd, new(unix.Stat_t)) }, "GETATTR", nil},
		"fstatfs":                   {0, func(fd int) error { return unix.Fstatfs(fd, new(unix.Statfs_t)) }, "STATFS", nil},
		"F_GET_SEALS":               {0, func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0); return err }, "", unix.EINVAL},
		"F_GETFL":                   {0, func(fd int) error { _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); return err }, "", nil},
	} {
		t.Run(what, func(t *testing.T) {
			f := Mount(t)
			fd := f.Open(t, c.flags)
			f.Die()
			done := make(chan error, 1)
			go func() { done <- c.call(fd) }()
			if c.asks == "" {
				if err := <-done; !errors.Is(err, c.fails) || len(f.Asked()) > 0 {
					t.Errorf("got %v, and the file system was asked %q", err, f.Asked())
				}
				return
			}
			f.WaitAsked(t, c.asks)
			select {
			case err := <-done:
				t.Errorf("it did not wait for the answer: %v", err)
			default:
			}
			f.LetGo()
			if err := <-done; err == nil {
				t.Error("no error once the file system is gone")
			}
		})
	}
}
