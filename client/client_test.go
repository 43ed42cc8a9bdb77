package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const busConfig = `<busconfig>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

// manager is what luod exports, as far as the client calls it.
type manager struct {
	conn   *dbus.Conn
	mu     sync.Mutex
	names  []string
	files  map[string]*os.File
	calls  int
	failAt int
	// full is how many calls the bus answers itself.
	full int
	// unknown is how many calls are answered with not knowing yet.
	unknown int
}

func (m *manager) Preserve(fds []named, _ map[string]dbus.Variant) *dbus.Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full > 0 {
		m.full--
		for _, n := range fds {
			unix.Close(int(n.FD))
		}
		return dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", []any{"the queue is full"})
	}
	m.calls++
	for _, n := range fds {
		f := os.NewFile(uintptr(n.FD), n.Name)
		if m.calls == m.failAt {
			f.Close()
			continue
		}
		m.names = append(m.names, n.Name)
		m.files[n.Name] = f
	}
	if m.calls == m.failAt {
		return dbus.NewError("org.luod.LiveUpdate1.Error.NotSupported", []any{"no"})
	}
	return nil
}

func (m *manager) Release(names []string) *dbus.Error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		m.files[name].Close()
		delete(m.files, name)
		m.names = slices.DeleteFunc(m.names, func(s string) bool { return s == name })
	}
	return nil
}

func (m *manager) ListNames() ([]struct{ Name, State string }, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unknown > 0 {
		m.unknown--
		return nil, dbus.NewError("org.luod.LiveUpdate1.Error.NotRestored", []any{"not yet"})
	}
	list := []struct{ Name, State string }{}
	for _, n := range m.names {
		list = append(list, struct{ Name, State string }{n, "held"})
	}
	return list, nil
}

func (m *manager) Retrieve(names []string) ([]named, *dbus.Error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var fds []named
	for _, n := range names {
		fds = append(fds, named{n, dbus.UnixFD(m.files[n].Fd())})
	}
	return fds, nil
}

// connect returns a client of a manager on a real dbus-daemon with its default
// limits.
func connect(t *testing.T) (*Client, *manager) {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed; .ci/run installs it")
	}
	dir := t.TempDir()
	socket, config := filepath.Join(dir, "bus"), filepath.Join(dir, "config")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, socket), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	server, err := dbus.Connect("unix:path=" + socket)
	for range 1000 { // the socket is there before it takes connections
		if err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
		server, err = dbus.Connect("unix:path=" + socket)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	m := &manager{conn: server, files: map[string]*os.File{}}
	if err := server.Export(m, busPath, "org.luod.LiveUpdate1.Manager"); err != nil {
		t.Fatal(err)
	}
	if _, err := server.RequestName(busName, 0); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+socket)
	c, err := Connect(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, m
}

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
	again := func() *dbus.Call {
		done := make(chan *dbus.Call, 1)
		call := &dbus.Call{Err: *full, Done: done}
		done <- call
		return call
	}
	if call := patiently(ctx, again(), again); !errors.As(call.Err, full) {
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
