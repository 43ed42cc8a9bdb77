package luo_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/internal/uapi"
	"github.com/liveupdate/luod/luo/luofake"
)

func memfd(t *testing.T, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestTheStructuresHaveTheKernelsLayout(t *testing.T) {
	for name, c := range map[string][2]uintptr{
		"SessionArg": {unsafe.Sizeof(uapi.SessionArg{}), 72},
		"FDArg":      {unsafe.Sizeof(uapi.FDArg{}), 16},
		"FinishArg":  {unsafe.Sizeof(uapi.FinishArg{}), 8},
		"NameArg":    {unsafe.Sizeof(uapi.NameArg{}), 72},
		"Token":      {unsafe.Offsetof(uapi.FDArg{}.Token), 8},
		"Name":       {unsafe.Offsetof(uapi.NameArg{}.Name), 8},
	} {
		if c[0] != c[1] {
			t.Errorf("%s: %d, want %d", name, c[0], c[1])
		}
	}
}

func TestAFileComesThrough(t *testing.T) {
	memfd(t, "").Close()
	before := openFDs(t)
	ctx, fake := context.Background(), luofake.New()
	s, err := fake.LUO().CreateSession(ctx, "luod.test")
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, "hello")
	if err := s.PreserveFD(f, 7); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if name, err := s.Name(); name != "luod.test" || err != nil {
		t.Fatalf("name %q, %v", name, err)
	}
	next, err := fake.Kexec()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	s, err = next.LUO().RetrieveSession(ctx, "luod.test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // as often as it is asked
		f, err := s.RetrieveFD(7)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 9)
		if n, _ := f.ReadAt(b, 0); string(b[:n]) != "hello" {
			t.Fatalf("got %q", b[:n])
		}
		f.Close()
	}
	if _, err := next.LUO().RetrieveSession(ctx, "luod.test"); !errors.Is(err, unix.EINVAL) {
		t.Fatalf("a second retrieval: %v", err)
	}
	if err := s.Finish(); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if in := next.Incoming(); len(in) != 0 {
		t.Fatalf("still incoming: %v", in)
	}
	if after := openFDs(t); after != before {
		t.Fatalf("%d file descriptors before, %d after", before, after)
	}
}

func TestOnlyTheLastCloseUnpreserves(t *testing.T) {
	fake := luofake.New()
	s, err := fake.LUO().CreateSession(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	f := memfd(t, "x")
	defer f.Close()
	if err := s.PreserveFD(f, 1); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(s.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	again := fake.LUO().SessionFromFile(os.NewFile(uintptr(fd), "dup"))
	s.Close()
	if out := fake.Outgoing(); !slices.Equal(out["a"], []uint64{1}) {
		t.Fatalf("a duplicate is open and %v is preserved", out)
	}
	again.Close()
	if out := fake.Outgoing(); len(out) != 0 {
		t.Fatalf("all is closed and %v is preserved", out)
	}
}

func TestTheKernelsErrorsAreExplained(t *testing.T) {
	ctx, fake := context.Background(), luofake.New()
	k := fake.LUO()
	s, err := k.CreateSession(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	f, g := memfd(t, "x"), memfd(t, "y")
	r, _, _ := os.Pipe()
	if err := s.PreserveFD(f, 1); err != nil {
		t.Fatal(err)
	}
	create := func(name string) error { _, err := k.CreateSession(ctx, name); return err }
	retrieve := func(name string) error { _, err := k.RetrieveSession(ctx, name); return err }
	fetch := func() error { _, err := s.RetrieveFD(1); return err }
	for _, c := range []struct {
		what  string
		err   error
		errno error
		text  string
	}{
		{"the name again", create("a"), unix.EEXIST, "create session \"a\""},
		{"an unknown session", retrieve("b"), unix.ENOENT, "handed over no session"},
		{"a pipe", s.PreserveFD(r, 2), unix.ENOENT, "no handler for its file type"},
		{"the token again", s.PreserveFD(g, 1), unix.EEXIST, "under token 1"},
		{"the file again", s.PreserveFD(f, 2), unix.EBUSY, "already preserved"},
		{"finishing an outgoing session", s.Finish(), unix.EINVAL, "for the next kernel"},
		{"fetching from an outgoing session", fetch(), unix.EINVAL, "for the next kernel"},
	} {
		var e *luo.Error
		if !errors.As(c.err, &e) || !errors.Is(c.err, c.errno) || !strings.Contains(c.err.Error(), c.text) {
			t.Errorf("%s: got %v, want %v with %q", c.what, c.err, c.errno, c.text)
		}
	}
	for _, name := range []string{"", strings.Repeat("x", 64), "a\x00b"} {
		if create(name) == nil || retrieve(name) == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
	if err := create(strings.Repeat("x", 63)); err != nil {
		t.Errorf("63 bytes: %v", err)
	}
}

func TestABusyDeviceIsTriedAgainUntilTheDeadline(t *testing.T) {
	fake := luofake.New()
	k := fake.LUO()
	d, err := k.Open(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
	defer cancel()
	if _, err := k.Open(ctx); !errors.Is(err, unix.EBUSY) || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("got %v", err)
	}
	opened := make(chan error, 1)
	go func() {
		d, err := k.Open(context.Background())
		if err == nil {
			err = d.Close()
		}
		opened <- err
	}()
	time.Sleep(10 * time.Millisecond)
	d.Close()
	if err := <-opened; err != nil {
		t.Fatal(err)
	}
}

func TestAMissingDeviceIsExplained(t *testing.T) {
	fake := luofake.New()
	fake.SetPresent(false)
	var u *luo.UnavailableError
	if err := fake.LUO().Probe(); !errors.As(err, &u) || !strings.Contains(err.Error(), "/dev/liveupdate does not exist") {
		t.Fatalf("got %v", err)
	}
	if _, err := fake.LUO().CreateSession(context.Background(), "a"); !errors.As(err, &u) {
		t.Fatalf("got %v", err)
	}
}
