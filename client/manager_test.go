package client

import (
	"context"
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

	"github.com/liveupdate/luod/client/errorname"
)

const busConfig = `<busconfig>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
</busconfig>
`

// daemon is a real dbus-daemon with its default limits.
type daemon struct {
	t   *testing.T
	dir string
	cmd *exec.Cmd
}

func newDaemon(t *testing.T) *daemon {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed; .ci/run installs it")
	}
	dir, err := os.MkdirTemp("", "bus") // a test's name can hold what an address can't
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	d := &daemon{t: t, dir: dir}
	if err := os.WriteFile(filepath.Join(d.dir, "config"), fmt.Appendf(nil, busConfig, d.socket()), 0o644); err != nil {
		t.Fatal(err)
	}
	d.start()
	t.Cleanup(d.kill)
	return d
}

func (d *daemon) socket() string  { return filepath.Join(d.dir, "bus") }
func (d *daemon) address() string { return "unix:path=" + d.socket() }

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command("dbus-daemon", "--config-file="+filepath.Join(d.dir, "config"), "--nofork", "--nopidfile", "--nosyslog")
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
}

func (d *daemon) kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
	os.Remove(d.socket())
}

// dial waits until the bus takes connections.
func (d *daemon) dial() *dbus.Conn {
	d.t.Helper()
	var err error
	for range 1000 {
		var conn *dbus.Conn
		if conn, err = dbus.Connect(d.address()); err == nil {
			return conn
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Fatal(err)
	return nil
}

const unitPath = dbus.ObjectPath("/org/luod/LiveUpdate1/unit/a_2eservice")

// gone is how long a luod that has gone stays away in these tests.
const gone = 120 * time.Millisecond

// manager is what luod exports, as far as the client calls it, for the one unit there is.
type manager struct {
	daemon *daemon
	back   sync.WaitGroup

	mu   sync.Mutex
	conn *dbus.Conn
	// served is how often it was started.
	served int
	names  []string
	files  map[string]*os.File
	// states are those of names that aren't "held".
	states map[string]string
	// limit is how many names there may be, 0 without a limit.
	limit      int
	sessions   map[string]bool
	registered int
	options    map[string]dbus.Variant
	phase      string
	// said is what services have said of themselves.
	said   []string
	calls  int
	failAt int
	// full is how many calls the bus answers itself.
	full int
	// unknown is how many calls are answered with not knowing yet.
	unknown int
	// trouble is what happens at the next calls of a method.
	trouble map[string][]trouble
	// vanishes is let go of when names have been listed.
	vanishes string
	// asked counts the calls of each method.
	asked map[string]int
}

// trouble is what happens to a call instead of its being answered.
type trouble struct {
	// late is that it is carried out all the same.
	late bool
	// partly is that it is carried out, but for its last name.
	partly bool
	// stays is that luod doesn't go away: the answer just doesn't come.
	stays bool
	// slow is how long the answer takes.
	slow time.Duration
	// name is an error that is answered then.
	name string
	// then is done while luod is away.
	then func()
}

func (m *manager) present() *dbus.Conn {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.conn
}

// serve is luod's start.
func (m *manager) serve() {
	conn := m.daemon.dial()
	if err := conn.Export(m, busPath, "org.luod.LiveUpdate1.Manager"); err != nil {
		m.daemon.t.Error(err)
	}
	if err := conn.Export(properties{m}, busPath, "org.freedesktop.DBus.Properties"); err != nil {
		m.daemon.t.Error(err)
	}
	m.mu.Lock()
	m.conn = conn
	m.mu.Unlock()
	if _, err := conn.RequestName(busName, 0); err != nil {
		m.daemon.t.Error(err)
	}
	m.with(func() { m.served++ })
}

// vanish is luod's end, and its start after a while.
func (m *manager) vanish(then func()) {
	m.present().Close()
	m.back.Go(func() {
		time.Sleep(gone)
		if then != nil {
			then()
		}
		m.serve()
	})
}

// do carries a call out and answers it, unless there is trouble, of which what is left out
// is passed on.
func (m *manager) do(method string, carryOut func(leave int) *dbus.Error) *dbus.Error {
	m.mu.Lock()
	m.asked[method]++
	var t trouble
	there := len(m.trouble[method]) > 0
	if there {
		t, m.trouble[method] = m.trouble[method][0], m.trouble[method][1:]
	}
	var err *dbus.Error
	switch {
	case !there || t.late:
		err = carryOut(0)
	case t.partly:
		err = carryOut(1)
	}
	m.mu.Unlock()
	switch {
	case !there:
	case t.slow > 0:
		time.Sleep(t.slow)
	case t.name != "":
		return dbus.NewError(t.name, []any{"trouble"})
	case t.stays:
		<-m.present().Context().Done()
	default:
		m.vanish(t.then)
	}
	return err
}

func no(name string) *dbus.Error { return dbus.NewError(errorname.Prefix+name, []any{name}) }

func (m *manager) Preserve(fds []named, _ map[string]dbus.Variant) *dbus.Error {
	taken := map[string]bool{}
	defer func() {
		for _, n := range fds {
			if !taken[n.Name] {
				unix.Close(int(n.FD))
			}
		}
	}()
	return m.do("Preserve", func(leave int) *dbus.Error {
		if m.full > 0 {
			m.full--
			return dbus.NewError("org.freedesktop.DBus.Error.LimitsExceeded", []any{"the queue is full"})
		}
		m.calls++
		if m.calls == m.failAt {
			return no("NotSupported")
		}
		// In the order of luod's vault.
		if m.limit > 0 && len(m.names)+len(fds) > m.limit {
			return no("TooMany")
		}
		for _, n := range fds {
			if m.files[n.Name] != nil {
				return no("NameInUse")
			}
			for _, name := range m.names {
				if same, _ := sameFile(int(n.FD), m.files[name]); same {
					return no("FileInUse")
				}
			}
		}
		for _, n := range fds[:len(fds)-leave] {
			taken[n.Name] = true
			m.names = append(m.names, n.Name)
			m.files[n.Name] = os.NewFile(uintptr(n.FD), n.Name)
		}
		return nil
	})
}

func (m *manager) Release(names []string) *dbus.Error {
	return m.do("Release", func(leave int) *dbus.Error {
		for _, name := range names {
			if m.files[name] == nil {
				return no("NoSuchName")
			}
		}
		if len(names) == 0 {
			names = slices.Clone(m.names)
		}
		for _, name := range names[:len(names)-leave] {
			m.files[name].Close()
			delete(m.files, name)
			m.names = slices.DeleteFunc(m.names, func(s string) bool { return s == name })
		}
		return nil
	})
}

func (m *manager) ListNames() ([]entry, *dbus.Error) {
	list := []entry{}
	return list, m.do("ListNames", func(int) *dbus.Error {
		if m.unknown > 0 {
			m.unknown--
			return no("NotRestored")
		}
		for _, n := range m.names {
			state := "held"
			if m.states[n] != "" {
				state = m.states[n]
			}
			list = append(list, entry{n, state})
		}
		if f := m.files[m.vanishes]; f != nil {
			f.Close()
			delete(m.files, m.vanishes)
			m.names = slices.DeleteFunc(m.names, func(s string) bool { return s == m.vanishes })
		}
		return nil
	})
}

func (m *manager) Retrieve(names []string) (fds []named, _ *dbus.Error) {
	return fds, m.do("Retrieve", func(int) *dbus.Error {
		for _, n := range names {
			if m.files[n] == nil {
				return no("NoSuchName")
			}
			fds = append(fds, named{n, dbus.UnixFD(m.files[n].Fd())})
		}
		return nil
	})
}

func (m *manager) CreateSession(name string) (dbus.UnixFD, *dbus.Error) {
	fd, _ := unix.Open("/dev/null", unix.O_CLOEXEC, 0)
	return dbus.UnixFD(fd), m.do("CreateSession", func(int) *dbus.Error { m.sessions[name] = true; return nil })
}

func (m *manager) RetrieveSession(name string) (dbus.UnixFD, *dbus.Error) {
	fd, _ := unix.Open("/dev/null", unix.O_CLOEXEC, 0)
	return dbus.UnixFD(fd), m.do("RetrieveSession", func(int) *dbus.Error {
		if !m.sessions[name] {
			return no("NoSuchSession")
		}
		return nil
	})
}

func (m *manager) ReleaseSession(name string) *dbus.Error {
	return m.do("ReleaseSession", func(int) *dbus.Error {
		if !m.sessions[name] {
			return no("NoSuchSession")
		}
		delete(m.sessions, name)
		return nil
	})
}

func (m *manager) Register(options map[string]dbus.Variant) (dbus.ObjectPath, *dbus.Error) {
	return unitPath, m.do("Register", func(int) *dbus.Error {
		m.registered, m.options = m.registered+1, options
		return nil
	})
}

func (m *manager) Unregister() *dbus.Error {
	return m.do("Unregister", func(int) *dbus.Error {
		if m.registered == 0 {
			return no("NotRegistered")
		}
		m.registered = 0
		return nil
	})
}

func (m *manager) Ready() *dbus.Error             { return m.do("Ready", m.say("ready")) }
func (m *manager) Fail(reason string) *dbus.Error { return m.do("Fail", m.say(reason)) }
func (m *manager) say(what string) func(int) *dbus.Error {
	return func(int) *dbus.Error {
		if m.phase != "preparing" {
			return no("NotPreparing")
		}
		m.said = append(m.said, what)
		return nil
	}
}

type properties struct{ m *manager }

func (p properties) Get(_, name string) (dbus.Variant, *dbus.Error) {
	p.m.mu.Lock()
	defer p.m.mu.Unlock()
	return dbus.MakeVariant(p.m.phase), nil
}

// with does something to the manager under its lock.
func (m *manager) with(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// wait waits until it is so.
func (m *manager) wait(t *testing.T, is func() bool) {
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var so bool
		if m.with(func() { so = is() }); so {
			return
		}
	}
	t.Error("it never is so")
}

// restart restarts the bus; luod is on it again after a while.
func (m *manager) restart(meanwhile func()) {
	m.daemon.kill()
	if meanwhile != nil {
		meanwhile()
	}
	m.daemon.start()
	time.Sleep(gone)
	m.serve()
}

// connect returns a client of a manager on a real bus, which is the system bus for as long.
func connect(t *testing.T) (*Client, *manager) {
	t.Helper()
	c, m := connectQuietly(t)
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", m.daemon.address())
	return c, m
}

// connectQuietly is connect for tests that run in parallel.
func connectQuietly(t *testing.T) (*Client, *manager) {
	t.Helper()
	m := &manager{
		daemon: newDaemon(t), files: map[string]*os.File{}, states: map[string]string{}, sessions: map[string]bool{},
		phase: "preparing", trouble: map[string][]trouble{}, asked: map[string]int{},
	}
	m.serve()
	t.Cleanup(func() { m.back.Wait(); m.present().Close() })
	c, err := connectBy(context.Background(), func(options ...dbus.ConnOption) (*dbus.Conn, error) {
		return dbus.Connect(m.daemon.address(), options...)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, m
}
