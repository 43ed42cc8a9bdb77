package busbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// registry is what stands behind the door in these tests.
type registry struct {
	mu         sync.Mutex
	held       map[string]string // name → contents, of the one unit there is
	files      map[string]*os.File
	refuse     error
	noUnit     error
	fetched    []string
	registered []string
	updates    int
	request    nextkernel.Request
	status     coordinator.Status
	// asked is called when Status has made up its answer, and identifying when it is to be
	// found out who calls.
	asked, identifying func()
}

func (r *registry) Preserve(_ context.Context, unit string, names []string, files []*os.File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return r.refuse
	}
	for i, name := range names {
		b := make([]byte, 100)
		n, _ := files[i].ReadAt(b, 0)
		r.held[name], r.files[name] = string(b[:n]), files[i]
	}
	return nil
}

// has returns what was handed over under name.
func (r *registry) has(name string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.held[name]
}

func (r *registry) Release(_ context.Context, _ string, names []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if f := r.files[name]; f != nil {
			f.Close()
		}
		delete(r.held, name)
		delete(r.files, name)
	}
	return r.refuse
}

func (r *registry) Retrieve(_ context.Context, _ string, names []string) (holdings.Fetch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var fetch holdings.Fetch
	for _, name := range names {
		if r.files[name] == nil {
			return fetch, &vault.Refusal{Reason: vault.NoSuchName, Text: "no " + name}
		}
		fd, err := unix.FcntlInt(r.files[name].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fetch, err
		}
		fetch.Names = append(fetch.Names, name)
		fetch.Files = append(fetch.Files, os.NewFile(uintptr(fd), name))
	}
	return fetch, nil
}

func (r *registry) Fetched(_ context.Context, _ string, names []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched = append(r.fetched, names...)
	return nil
}

func (r *registry) Own(ctx context.Context, _ string) ([]holdings.Held, error) {
	return r.List(ctx)
}

func (r *registry) List(context.Context) ([]holdings.Held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []holdings.Held
	for name := range r.held {
		list = append(list, holdings.Held{Unit: "test.service", Name: name, State: "held"})
	}
	return list, nil
}

func (r *registry) Status(context.Context) (coordinator.Status, error) {
	if r.asked != nil {
		defer r.asked()
	}
	return r.status, nil
}

var report = verdict.Report{
	Target:  kexec.Target{Kernel: "/k", CommandLine: "x"},
	Release: "7.3", Digest: "d", Results: []verdict.Result{{Name: "memory", Verdict: verdict.Warn, Reason: "r", Remedy: "m"}},
}

func (r *registry) Entries(context.Context) ([]loading.Entry, error) {
	return []loading.Entry{{ID: "a.conf", Default: true}}, nil
}

func (r *registry) Check(_ context.Context, request nextkernel.Request) (verdict.Report, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.request = request
	return report, nil
}

func (r *registry) Load(ctx context.Context, request nextkernel.Request) (record.Loaded, verdict.Report, error) {
	_, err := r.Check(ctx, request)
	return record.Loaded{Release: "7.3"}, report, err
}
func (r *registry) Cancel(context.Context, string) error { return r.refuse }
func (r *registry) Register(_ context.Context, unit string, o record.Registration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = append(r.registered, fmt.Sprintf("%s %+v", unit, o))
	return r.refuse
}
func (r *registry) Unregister(context.Context, string) error   { return r.refuse }
func (r *registry) Ready(context.Context, string) error        { return r.refuse }
func (r *registry) Fail(context.Context, string, string) error { return r.refuse }
func (r *registry) Remind(context.Context) error               { return nil }
func (r *registry) Discard(_ context.Context, unit string, names []string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = append(r.registered, fmt.Sprint("discard ", unit, names))
	return r.refuse
}
func (r *registry) Report(_ context.Context, generation uint64) (string, error) {
	return fmt.Sprintf(`{"generation":%d}`, generation), nil
}
func (r *registry) CreateSession(_ context.Context, unit, name string) (*os.File, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return nil, r.refuse
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	_, err = f.WriteString(unit + " " + name)
	return f, err
}
func (r *registry) RetrieveSession(ctx context.Context, unit, name string) (*os.File, error) {
	return r.CreateSession(ctx, unit, "back "+name)
}
func (r *registry) ReleaseSession(context.Context, string, string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refuse
}
func (r *registry) Unload(context.Context) error { return nil }
func (r *registry) UnloadOwn(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = append(r.registered, "unload own")
	return "7.3", r.refuse
}

func (r *registry) Stakes(context.Context) (holdings.Stakes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = append(r.registered, "stakes")
	return holdings.Stakes{Units: []holdings.Stake{{Unit: "a.service", Count: 3, Bytes: 4096, Waiting: 1}}, Unread: "u", Stuck: 2}, r.refuse
}

func (r *registry) DiscardAll(context.Context) (holdings.Stakes, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.registered = append(r.registered, "discard all")
	return holdings.Stakes{}, r.refuse
}
func (r *registry) LiveUpdate(_ context.Context, o record.Options) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.updates++
	return 7, nil
}

const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=%s/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus"/>
  </policy>
  <include>%s</include>
  <policy user="root">
    <allow own="org.luod.LiveUpdate1"/>
  </policy>
</busconfig>
`

// bus runs a real dbus-daemon with the policy that is shipped.
type bus struct {
	t       testing.TB
	dir     string
	command *exec.Cmd
	// front is luod-bus's side.
	front *busserver.Server
	// log is what both sides have written.
	log journal
}

// journal is a log.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// handed is a descriptor with its name on the bus: (sh).
type handed struct {
	Name string
	FD   dbus.UnixFD
}

func newBus(t testing.TB) *bus {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed; .ci/run installs it")
	}
	if os.Geteuid() != 0 {
		t.Skip("the shipped policy lets only root own the name")
	}
	dir, err := os.MkdirTemp("", "luod-bus-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	policy, err := filepath.Abs("../../../packaging/org.luod.LiveUpdate1.conf")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), fmt.Appendf(nil, busConfig, dir, policy), 0o644); err != nil {
		t.Fatal(err)
	}
	b := &bus{t: t, dir: dir}
	b.run()
	t.Cleanup(b.kill)
	return b
}

func (b *bus) path() string { return b.dir + "/bus" }

func (b *bus) address() string { return "unix:path=" + b.path() }

func (b *bus) run() {
	b.t.Helper()
	b.command = exec.Command("dbus-daemon", "--config-file="+b.dir+"/config", "--nofork", "--nopidfile", "--nosyslog")
	b.command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	b.command.Stderr = os.Stderr
	if err := b.command.Start(); err != nil {
		b.t.Fatal(err)
	}
	for range 1000 { // the socket is there before it takes connections
		if c, err := net.Dial("unix", b.dir+"/bus"); err == nil {
			c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatal("dbus-daemon does not listen")
}

func (b *bus) kill() {
	b.command.Process.Kill()
	b.command.Wait()
	os.Remove(b.dir + "/bus")
}

func (b *bus) dial(options ...dbus.ConnOption) (*dbus.Conn, error) {
	return dbus.Connect(b.address(), options...)
}

// open opens a door on a new bus and returns a client's connection.
func open(t *testing.T) (*bus, *registry, *Server, *dbus.Conn) {
	t.Helper()
	return openWith(t, func(*registry, *Server) {})
}

// openWith is open with what prepare does before.
func openWith(t testing.TB, prepare func(*registry, *Server)) (*bus, *registry, *Server, *dbus.Conn) {
	t.Helper()
	b := newBus(t)
	r, d := b.serve(t, prepare)
	return b, r, d, b.client()
}

// serve has luod's side and luod-bus's, in this process, on a socket between them.
func (b *bus) serve(t testing.TB, prepare func(*registry, *Server)) (*registry, *Server) {
	t.Helper()
	r := &registry{held: map[string]string{}, files: map[string]*os.File{}, status: coordinator.Status{Phase: phase.Idle, Generation: 3}}
	locks, err := inhibitors.Open(filepath.Join(b.dir, "inhibit"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { locks.Close() })
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	d := &Server{
		Registry: r, Log: log, Bin: &foreign.Bin{Log: log}, Locks: locks,
		Logind: func(context.Context) ([]inhibitors.Inhibitor, error) { return nil, nil },
		Meter:  quota.Meter{Rate: 500, Burst: 2000},
		Vouch:  func(_ context.Context, bus, pid uint32) error { return peers.Vouch(int(bus), int(pid)) },
		Unit: func(pidfd int) (string, error) {
			if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil {
				return "", err
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			return "test.service", r.noUnit
		},
	}
	b.front = &busserver.Server{
		Log: log, Bin: d.Bin,
		Luod: func() (*buslink.Socket, error) { return buslink.Dial(b.dir + "/luod") },
		Bus: func(ctx context.Context, handle func(*busconn.Conn, *busconn.Message)) (*busconn.Conn, error) {
			return busconn.Dial(ctx, b.address(), d.Bin, handle)
		},
	}
	prepare(r, d)
	l, err := Listen(b.dir + "/luod")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{}, 2)
	go func() { d.Serve(ctx, l); done <- struct{}{} }()
	go func() { b.front.Serve(ctx); done <- struct{}{} }()
	t.Cleanup(func() {
		cancel()
		<-done
		<-done
		d.wait.Wait()
		for _, f := range r.files {
			f.Close()
		}
	})
	return r, d
}

// client connects and waits until the door is open.
func (b *bus) client() *dbus.Conn {
	b.t.Helper()
	for range 3000 {
		conn, err := b.dial()
		if err == nil {
			var owned bool
			if conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, busserver.Name).Store(&owned) == nil && owned {
				b.t.Cleanup(func() { conn.Close() })
				return conn
			}
			conn.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.t.Fatal("the door did not open")
	return nil
}

func call(conn *dbus.Conn, method string, args ...any) *dbus.Call {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return conn.Object(busserver.Name, busserver.Path).CallWithContext(ctx, busserver.Interface+"."+method, 0, args...)
}

func errorName(err error) string {
	var e dbus.Error
	if errors.As(err, &e) {
		return e.Name
	}
	return fmt.Sprint(err)
}

func memfd(t *testing.T, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// soon says whether it is true before 10 s are over, which only what hangs takes.
func soon(is func() bool) bool {
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

var none = map[string]dbus.Variant{}

func TestDescriptorsGoThroughTheDoorAndBack(t *testing.T) {
	bus, r, _, conn := open(t)
	a, b := memfd(t, "a"), memfd(t, "b")
	if err := call(conn, "Preserve", []handed{{"x", dbus.UnixFD(a.Fd())}, {"y", dbus.UnixFD(b.Fd())}}, none).Err; err != nil {
		t.Fatal(err)
	}
	if r.has("x") != "a" || r.has("y") != "b" {
		t.Fatalf("arrived: %q, %q", r.has("x"), r.has("y"))
	}
	before := openFDs(t)
	for range 3 {
		var got []handed
		if err := call(conn, "Retrieve", []string{"y", "x"}).Store(&got); err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{"b", "a"} {
			f := os.NewFile(uintptr(got[i].FD), got[i].Name)
			text := make([]byte, 10)
			if n, _ := f.ReadAt(text, 0); string(text[:n]) != want {
				t.Errorf("%s has %q", got[i].Name, text[:n])
			}
			f.Close()
		}
	}
	var fetched []string
	if !soon(func() bool { // it follows the reply
		r.mu.Lock()
		defer r.mu.Unlock()
		fetched = slices.Clone(r.fetched)
		return slices.Equal(fetched, []string{"y", "x", "y", "x", "y", "x"})
	}) {
		t.Errorf("fetched: %v", fetched)
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
	var names []struct{ Name, State string }
	if err := call(conn, "ListNames").Store(&names); err != nil || len(names) != 2 {
		t.Errorf("names %v, %v", names, err)
	}
	if log := bus.log.String(); strings.Contains(log, "level=WARN") {
		t.Errorf("the log has\n%s", log)
	}
}

func TestARefusalLeavesNoDescriptor(t *testing.T) {
	_, r, _, conn := open(t)
	f := memfd(t, "x")
	fd := dbus.UnixFD(f.Fd())
	call(conn, "ListNames")
	before := openFDs(t)
	for _, c := range []struct {
		refuse error
		unit   error
		fds    []handed
		opts   map[string]dbus.Variant
		want   string
	}{
		{&vault.Refusal{Reason: vault.UnsupportedFile, Text: "t"}, nil, []handed{{"x", fd}}, none, "org.luod.LiveUpdate1.Error.UnsupportedFile"},
		{&fault.Fault{Name: "Busy", Err: errors.New("t")}, nil, []handed{{"x", fd}}, none, "org.luod.LiveUpdate1.Error.Busy"},
		{errors.New("t"), nil, []handed{{"x", fd}}, none, "org.freedesktop.DBus.Error.Failed"},
		{nil, callers.ErrNoUnit, []handed{{"x", fd}}, none, "org.luod.LiveUpdate1.Error.NoUnit"},
		{nil, nil, []handed{{"x", fd}}, map[string]dbus.Variant{"huh": dbus.MakeVariant(1)}, "org.luod.LiveUpdate1.Error.UnknownOption"},
	} {
		r.mu.Lock()
		r.refuse, r.noUnit = c.refuse, c.unit
		r.mu.Unlock()
		if err := call(conn, "Preserve", c.fds, c.opts).Err; errorName(err) != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
}

// An unprivileged client chooses what it sends: none of it may end luod.
func TestAStrangeMessageDoesNotCloseTheDoor(t *testing.T) {
	b, r, _, conn := open(t)
	f := memfd(t, "x")
	fd := dbus.UnixFD(f.Fd())
	before := openFDs(t)
	for name, args := range map[string][]any{
		"an array of descriptors": {[]dbus.UnixFD{fd, fd}},
		"a lone descriptor":       {fd},
		"a nested one":            {[][]handed{{{"a", fd}}}},
		"in a variant":            {dbus.MakeVariant(fd)},
		"in a dictionary":         {map[string]dbus.Variant{"a": dbus.MakeVariant(fd)}},
		"in the options":          {[]handed{{"x", fd}}, map[string]dbus.Variant{"a": dbus.MakeVariant(fd)}},
		"nothing":                 {},
	} {
		bad, err := b.dial()
		if err != nil {
			t.Fatal(err)
		}
		if err := call(bad, "Preserve", args...).Err; err == nil {
			t.Errorf("%s was taken", name)
		}
		if err := call(bad, "Release", args...).Err; err == nil && len(args) > 0 {
			t.Errorf("%s was taken by Release", name)
		}
		bad.Close()
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
	// And luod is where it was, on the same connection.
	if err := call(conn, "Preserve", []handed{{"x", fd}}, none).Err; err != nil || r.has("x") != "x" {
		t.Fatalf("after all that: %v", err)
	}
}

func TestEveryMethodIsIntrospected(t *testing.T) {
	_, _, _, conn := open(t)
	var xml string
	if err := conn.Object(busserver.Name, busserver.Path).Call("org.freedesktop.DBus.Introspectable.Introspect", 0).Store(&xml); err != nil {
		t.Fatal(err)
	}
	for _, name := range busserver.Methods() {
		if !strings.Contains(xml, `<method name="`+name+`">`) {
			t.Errorf("%s is missing", name)
		}
	}
	status := reflect.TypeFor[buslink.Status]()
	for i := range status.NumField() {
		if name := status.Field(i).Name; !strings.Contains(xml, `<property name="`+name+`"`) {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestPropertiesFollowTheStatus(t *testing.T) {
	_, _, d, conn := open(t)
	signals := make(chan *dbus.Signal, 100)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus.Properties")); err != nil {
		t.Fatal(err)
	}
	d.Changed(coordinator.Status{Phase: phase.Committed, Generation: 4, Waiting: []string{"a.service"}})
	seen := map[string]bool{}
	for len(seen) < 3 {
		select {
		case s := <-signals:
			if len(s.Body) > 1 {
				for name := range s.Body[1].(map[string]dbus.Variant) {
					seen[name] = true
				}
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("announced: %v", seen)
		}
	}
	if !seen["Phase"] || !seen["Generation"] || !seen["Waiting"] {
		t.Errorf("announced: %v", seen)
	}
	v, err := conn.Object(busserver.Name, busserver.Path).GetProperty(busserver.Interface + ".Generation")
	if err != nil || v.Value() != uint64(4) {
		t.Errorf("generation %v, %v", v, err)
	}
	if err := conn.Object(busserver.Name, busserver.Path).SetProperty(busserver.Interface+".Phase", dbus.MakeVariant("x")); err == nil {
		t.Error("the phase could be set")
	}
}

func TestTheDoorOpensAgainOnARestartedBus(t *testing.T) {
	b, _, _, _ := open(t)
	b.kill()
	b.run()
	conn := b.client()
	if err := call(conn, "ListNames").Err; err != nil {
		t.Fatal(err)
	}
}

// TestMain lets a test run this binary as another user.
func TestMain(m *testing.M) {
	if address := os.Getenv("LUOD_TEST_BUS"); address != "" {
		conn, err := dbus.Connect(address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("LiveUpdate", errorName(call(conn, "LiveUpdate", none).Err))
		fmt.Println("Cancel", errorName(call(conn, "Cancel", "x").Err))
		fmt.Println("Inhibit", errorName(call(conn, "Inhibit", "live-update", "x", "y", "block").Err))
		fmt.Println("Load", errorName(call(conn, "Load", "/k", none).Err))
		fmt.Println("Check", errorName(call(conn, "Check", "/etc/shadow", none).Err))
		fmt.Println("ListEntries", errorName(call(conn, "ListEntries").Err))
		fmt.Println("Discard", errorName(call(conn, "Discard", "a.service", []string{}).Err))
		fmt.Println("DiscardAll", errorName(call(conn, "DiscardAll", none).Err))
		fmt.Println("DiscardAll", errorName(call(conn, "DiscardAll", map[string]dbus.Variant{"dry-run": dbus.MakeVariant(true)}).Err))
		fmt.Println("UnloadOwn", errorName(call(conn, "UnloadOwn").Err))
		fmt.Println("Report", errorName(call(conn, "Report", uint64(0)).Err))
		fmt.Println("Unload", errorName(call(conn, "Unload").Err))
		fmt.Println("ListFileDescriptors", errorName(call(conn, "ListFileDescriptors").Err))
		fmt.Println("ListNames", errorName(call(conn, "ListNames").Err))
		_, err = conn.RequestName(busserver.Name, 0)
		fmt.Println("RequestName", errorName(err))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAnOrdinaryUserMayOnlyDoWhatServicesDo(t *testing.T) {
	b, r, _, conn := open(t)
	// Where go test puts the binary, nobody else may look.
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(b.dir, "client")
	if err := os.WriteFile(program, self, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Dir = "/"
	cmd.Env = []string{"LUOD_TEST_BUS=" + b.address()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	const denied = "org.freedesktop.DBus.Error.AccessDenied"
	want := "LiveUpdate " + denied + "\nCancel " + denied + "\nInhibit " + denied + "\nLoad " + denied + "\nCheck " + denied + "\nListEntries " + denied + "\nDiscard " + denied + "\nDiscardAll " + denied + "\nDiscardAll " + denied + "\nUnloadOwn " + denied + "\nReport " + denied + "\nUnload " + denied + "\nListFileDescriptors " + denied + "\nListNames <nil>\nRequestName " + denied + "\n"
	if string(out) != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	r.mu.Lock()
	if r.updates != 0 {
		t.Error("an update was begun")
	}
	r.mu.Unlock()
	var generation uint64
	if err := call(conn, "LiveUpdate", none).Store(&generation); err != nil || generation != 7 {
		t.Errorf("root: %d, %v", generation, err)
	}
}
