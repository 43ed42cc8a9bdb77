package inhibitors

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func open1(t *testing.T, dir string) (*Set, chan struct{}) {
	t.Helper()
	changes := make(chan struct{}, 100)
	s, err := Open(dir, func() { changes <- struct{}{} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, changes
}

func lockOf(who string, mode Mode) Inhibitor {
	return Inhibitor{What: LiveUpdate, Who: who, Why: "because", Mode: mode, UID: 1000, PID: 1, Unit: "a.service"}
}

func add(t *testing.T, s *Set, i Inhibitor) *os.File {
	t.Helper()
	f, err := s.Add(i)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func names(list []Inhibitor) string {
	var all []string
	for _, i := range list {
		all = append(all, i.Who)
	}
	return strings.Join(all, " ")
}

// until waits for a change that makes the locks these.
func until(t *testing.T, s *Set, changes chan struct{}, want string) {
	t.Helper()
	for names(s.List()) != want {
		select {
		case <-changes:
		case <-time.After(10 * time.Second):
			t.Fatalf("there are %q, want %q", names(s.List()), want)
		}
	}
}

func TestALockHoldsAsLongAsItsDescriptorIsOpen(t *testing.T) {
	s, changes := open1(t, filepath.Join(t.TempDir(), "inhibit"))
	x := add(t, s, lockOf("x", Block))
	y := add(t, s, lockOf("y", Delay))
	if names(s.List()) != "x y" || names(s.Blocking()) != "x" || names(s.Delaying()) != "y" {
		t.Fatalf("%+v", s.List())
	}
	copied, err := unix.Dup(int(x.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// What is written is dropped, also more than a pipe holds.
	for range 100 {
		if _, err := unix.Write(copied, make([]byte, 4096)); err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
	}
	x.Close()
	y.Close()
	until(t, s, changes, "x")
	unix.Close(copied)
	until(t, s, changes, "")
	if left, _ := os.ReadDir(s.dir); len(left) != 0 {
		t.Fatalf("left behind: %v", left)
	}
}

func TestTheNextProcessFindsThem(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "inhibit")
	s, _ := open1(t, dir)
	x := add(t, s, lockOf("x", Block))
	y := add(t, s, lockOf("y", Block))
	before := s.List()[0]
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	y.Close() // while nobody looks
	// What kills leave: a FIFO alone, a record alone, a temporary file, a plain
	// file in the FIFO's place.
	for _, fifo := range []string{"70.ref", "71.ref"} {
		if err := unix.Mkfifo(filepath.Join(dir, fifo), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"71", "72", "73", "73.ref", ".123"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, changes := open1(t, dir)
	if names(s.List()) != "x" || s.List()[0].Since.UnixNano() != before.Since.UnixNano() || s.List()[0].Unit != before.Unit {
		t.Fatalf("%+v and before %+v", s.List(), before)
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Fatalf("left behind: %v", left)
	}
	z := add(t, s, lockOf("z", Block))
	if s.List()[1].ID <= 73 {
		t.Errorf("an ID is used again: %+v", s.List())
	}
	x.Close()
	until(t, s, changes, "z")
	z.Close()
	until(t, s, changes, "")
}

func TestAnUnreadableRecordStillBlocks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "inhibit")
	s, _ := open1(t, dir)
	add(t, s, lockOf("x", Delay))
	s.Close()
	if err := os.WriteFile(filepath.Join(dir, "1"), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, _ = open1(t, dir)
	if list := s.Blocking(); len(list) != 1 || list[0].Who != "unknown" {
		t.Fatalf("%+v", list)
	}
}

func TestABadRequestTakesNothing(t *testing.T) {
	s, _ := open1(t, filepath.Join(t.TempDir(), "inhibit"))
	s.Max, s.MaxPerOwner = 3, 2
	for name, change := range map[string]func(*Inhibitor){
		"another what": func(i *Inhibitor) { i.What = "sleep" },
		"another mode": func(i *Inhibitor) { i.Mode = BlockWeak },
		"no who":       func(i *Inhibitor) { i.Who = "" },
		"long why":     func(i *Inhibitor) { i.Why = strings.Repeat("x", 257) },
		"controls":     func(i *Inhibitor) { i.Why = "a\x1b[2Jb" },
		"no UTF-8":     func(i *Inhibitor) { i.Who = "\xff" },
	} {
		i := lockOf("x", Block)
		change(&i)
		var r *Refusal
		if _, err := s.Add(i); !errors.As(err, &r) || r.Reason != BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
	add(t, s, lockOf("a", Block))
	add(t, s, lockOf("b", Block))
	var r *Refusal
	if _, err := s.Add(lockOf("c", Block)); !errors.As(err, &r) || r.Reason != TooManyInhibitors {
		t.Errorf("a third of one user: %v", err)
	}
	other := lockOf("d", Block)
	other.UID = 0
	add(t, s, other)
	other.UID = 1
	if _, err := s.Add(other); !errors.As(err, &r) || r.Reason != TooManyInhibitors {
		t.Errorf("a fourth of all: %v", err)
	}
	if names(s.List()) != "a b d" {
		t.Errorf("there are %s", names(s.List()))
	}
}

func TestNoDescriptorIsLeft(t *testing.T) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	dir := filepath.Join(t.TempDir(), "inhibit")
	before := count()
	for range 3 {
		s, err := Open(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			f, err := s.Add(lockOf(fmt.Sprint(i), Block))
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Add(lockOf("late", Block)); !errors.Is(err, os.ErrClosed) {
			t.Fatalf("after Close: %v", err)
		}
	}
	if after := count(); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
