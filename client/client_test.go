package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

func memfds(t *testing.T, n int) (names []string, files []*os.File) {
	t.Helper()
	for i := range n {
		fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "memfd")
		fmt.Fprint(f, i)
		names, files = append(names, fmt.Sprintf("fd-%02d", i)), append(files, f)
	}
	t.Cleanup(func() {
		for _, f := range files {
			f.Close()
		}
	})
	return names, files
}

func TestMoreThanAMessageHoldsGoesThroughAndBack(t *testing.T) {
	c, _ := connect(t)
	ctx := context.Background()
	if files, err := c.Retrieve(ctx); err != nil || len(files) != 0 {
		t.Fatalf("at first: %v, %v", files, err)
	}
	names, files := memfds(t, 40)
	if err := c.Preserve(ctx, names, files); err != nil {
		t.Fatal(err)
	}
	back, err := c.Retrieve(ctx)
	if err != nil || len(back) != 40 {
		t.Fatalf("%d files, %v", len(back), err)
	}
	for i, name := range names {
		b := make([]byte, 10)
		n, _ := back[name].ReadAt(b, 0)
		if string(b[:n]) != fmt.Sprint(i) {
			t.Errorf("%s has %q", name, b[:n])
		}
		flags, err := unix.FcntlInt(back[name].Fd(), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("%s has no O_CLOEXEC", name)
		}
		back[name].Close()
	}
}

func TestAFailureInTheMiddleTakesAllBack(t *testing.T) {
	for failAt := 1; failAt <= 5; failAt++ {
		c, m := connect(t)
		m.mu.Lock()
		m.failAt = failAt
		m.mu.Unlock()
		names, files := memfds(t, 200)
		err := c.Preserve(context.Background(), names, files)
		var refused *Error
		if !errors.As(err, &refused) || !NotSupported(err) {
			t.Fatalf("got %v", err)
		}
		m.mu.Lock()
		// Of those in flight any may arrive first, and fail.
		if len(m.names) != 0 || m.calls < failAt || m.calls > failAt+2*inFlight {
			t.Errorf("failed at call %d: %d calls, still there: %v", failAt, m.calls, m.names)
		}
		m.mu.Unlock()
	}
}

func TestAFullBusIsWaitedFor(t *testing.T) {
	c, m := connect(t)
	m.mu.Lock()
	m.full = 5
	m.mu.Unlock()
	names, files := memfds(t, 70)
	if err := c.Preserve(context.Background(), names, files); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.names) != 70 {
		t.Errorf("%d files arrived", len(m.names))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	full := dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", nil)
	again := func() *dbus.Call { return failed(*full) }
	if call, _ := c.repeatCall(ctx, nil, again(), again); !errors.As(call.Err, full) {
		t.Errorf("a bus that stays full: %v", call.Err)
	}
}

// A service must not begin anew because luod doesn't know yet.
func TestWhatIsNotKnownYetIsWaitedFor(t *testing.T) {
	c, m := connect(t)
	names, files := memfds(t, 2)
	if err := c.Preserve(context.Background(), names, files); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.unknown = 2
	m.mu.Unlock()
	back, err := c.Retrieve(context.Background())
	if err != nil || len(back) != 2 {
		t.Fatalf("%d files, %v", len(back), err)
	}
	for _, f := range back {
		f.Close()
	}
	m.mu.Lock()
	m.unknown = 1000
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	var refused *Error
	if back, err := c.Retrieve(ctx); !errors.As(err, &refused) || back != nil {
		t.Errorf("what is never known: %v, %v", back, err)
	}
}

func TestWhatIsWrongIsSaidBeforeAnythingIsSent(t *testing.T) {
	c, m := connect(t)
	names, files := memfds(t, 2)
	if err := c.Preserve(context.Background(), names[:1], files); err == nil {
		t.Error("one name for two files was taken")
	}
	if err := c.Preserve(context.Background(), make([]string, 1025), make([]*os.File, 1025)); err == nil {
		t.Error("1025 files were taken")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.calls != 0 {
		t.Errorf("%d calls", m.calls)
	}
}

// luod lets go of what PID 1 has again in the first second of a service.
func TestWhatGoesWhileItIsRetrievedIsNoError(t *testing.T) {
	c, m := connect(t)
	names, files := memfds(t, 40)
	if err := c.Preserve(context.Background(), names, files); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.vanishes = names[20]
	m.mu.Unlock()
	back, err := c.Retrieve(context.Background())
	if err != nil || len(back) != 39 || back[names[20]] != nil {
		t.Fatalf("%d files, %v", len(back), err)
	}
	for _, f := range back {
		f.Close()
	}
}
