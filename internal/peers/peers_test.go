package peers

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/peers/leftbehind"
	"github.com/liveupdate/luod/internal/peers/oldkernel"
)

// door is a socket that processes connect to.
type door struct {
	t    *testing.T
	l    *net.UnixListener
	path string
}

func newDoor(t *testing.T) *door {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &door{t, l, path}
}

// accept returns the next connection, and when it did.
func (d *door) accept() (fd int, at time.Duration) {
	d.t.Helper()
	conn, err := d.l.AcceptUnix()
	if err != nil {
		d.t.Fatal(err)
	}
	defer conn.Close()
	if at, err = Now(); err != nil {
		d.t.Fatal(err)
	}
	f, err := conn.File()
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { f.Close() })
	return int(f.Fd()), at
}

// pidOf returns what a pidfd is of, and closes it.
func pidOf(t *testing.T, pidfd, want int) {
	t.Helper()
	defer unix.Close(pidfd)
	if err := isNow(pidfd, want); err != nil {
		t.Errorf("it is not process %d: %v", want, err)
	}
}

func TestTheProcessThatConnected(t *testing.T) {
	d := newDoor(t)
	p := leftbehind.Begin(t, d.path)
	fd, at := d.accept()
	for name, of := range map[string]func() (int, error){
		"the kernel's word": func() (int, error) { return Of(fd) },
		"either":            func() (int, error) { return OfAccepted(fd, at) },
		"its credentials":   func() (int, error) { return byCredentials(fd, at) },
	} {
		pidfd, err := of()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		pidOf(t, pidfd, p.PID)
	}
	p.End()
	for name, of := range map[string]func() (int, error){
		"the kernel's word": func() (int, error) { return Of(fd) },
		"its credentials":   func() (int, error) { return byCredentials(fd, at) },
	} {
		pidfd, err := of()
		if err == nil {
			err = Alive(pidfd)
			unix.Close(pidfd)
		}
		if !errors.Is(err, ErrGone) {
			t.Errorf("%s, when it is gone: %v", name, err)
		}
	}
	if can, err := Supported(); !can || err != nil {
		t.Errorf("supported: %t, %v", can, err)
	}
}

// The number of a process that is gone goes to another, which began later than the
// connection was accepted.
func TestTheNextProcessOfThatNumberIsAnother(t *testing.T) {
	d := newDoor(t)
	p := leftbehind.Begin(t, d.path)
	fd, at := d.accept()
	p.End()
	time.Sleep(2 * tick) // what is told apart by its beginning
	next := leftbehind.Recycle(t, "", p.PID)
	if pidfd, err := byCredentials(fd, at); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "another one now") {
		t.Errorf("got %d, %v", pidfd, err)
	}
	if pidfd, err := Of(fd); err == nil {
		if err := isNow(pidfd, next.PID); !errors.Is(err, ErrGone) {
			t.Errorf("got %v", err)
		}
		unix.Close(pidfd)
	}
}

func TestVouchingForAProcess(t *testing.T) {
	d := newDoor(t)
	self := os.Getpid()
	p := leftbehind.Begin(t, d.path)
	if err := Vouch(self, p.PID); err == nil || !strings.Contains(err.Error(), "has none") {
		t.Errorf("before it is accepted: %v", err)
	}
	fd, _ := d.accept()
	if err := Vouch(self, p.PID); err != nil {
		t.Error(err)
	}
	p.End()
	if err := Vouch(self, p.PID); !errors.Is(err, ErrGone) {
		t.Errorf("it is gone: %v", err)
	}
	next := leftbehind.Recycle(t, d.path, p.PID)
	if err := Vouch(self, next.PID); !errors.Is(err, ErrGone) {
		t.Errorf("another has its number: %v", err)
	}
	d.accept()
	if err := Vouch(self, next.PID); !errors.Is(err, ErrGone) {
		t.Errorf("another has its number, and a connection: %v", err)
	}
	unix.Shutdown(fd, unix.SHUT_RDWR)
	if err := Vouch(self, next.PID); !errors.Is(err, ErrGone) {
		t.Errorf("it is still open: %v", err)
	}
}

func TestPeersOnAnOldKernel(t *testing.T) {
	if !oldkernel.Run(t) {
		return
	}
	if can, err := Supported(); can || err != nil {
		t.Errorf("supported: %t, %v", can, err)
	}
	d := newDoor(t)
	p := leftbehind.Begin(t, d.path)
	fd, at := d.accept()
	pidfd, err := OfAccepted(fd, at)
	if err != nil {
		t.Fatal(err)
	}
	pidOf(t, pidfd, p.PID)
	if err := Vouch(os.Getpid(), p.PID); !errors.Is(err, ErrNotSupported) {
		t.Errorf("vouched: %v", err)
	}
}

func TestReadingStat(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123 4 5":       1230 * time.Millisecond,
		"7 (a) b) 9) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 123 4 5": 1230 * time.Millisecond,
		"7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0":               -1,
		"7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 x 4 5":         -1,
		"": -1,
	} {
		if got, err := beginningIn(text); (err == nil) != (want >= 0) || err == nil && got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for text, want := range map[string]int{
		"Name:\ta\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n": 2,
		"Name:\ta\n":          -1,
		"Uid:\t1\n":           -1,
		"Uid:\t1\t-2\t3\t4\n": -1,
	} {
		if got, err := effectiveIn(text); (err == nil) != (want >= 0) || err == nil && int(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
