package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/peers"
	"github.com/liveupdate/luod/luod/peers/oldkernel"
)

// processVariable makes this program a process that connects its file descriptor 3 to
// the socket there, says so, and ends when its standard input does.
const processVariable = "LUOD_TEST_CONNECT"

func init() {
	path, is := os.LookupEnv(processVariable)
	if !is {
		return
	}
	if path != "" {
		if err := unix.Connect(3, &unix.SockaddrUnix{Name: path}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// process is one that has made a connection, the other side of which the test keeps.
type process struct {
	pid  int
	cmd  *exec.Cmd
	in   io.Closer
	conn net.Conn
}

// begin starts one, which connects to the bus if there is one.
func begin(t *testing.T, b *bus) *process {
	t.Helper()
	p := &process{cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = []string{processVariable + "="}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if b != nil {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		p.cmd.Env = []string{processVariable + "=" + b.dir + "/bus"}
		p.cmd.ExtraFiles = []*os.File{f}
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.pid, p.in = p.cmd.Process.Pid, in
	t.Cleanup(p.end)
	said := make([]byte, 100)
	if n, err := out.Read(said); err != nil || string(said[:n]) != "connected\n" {
		t.Fatalf("a process could not connect: %q, %v", said[:n], err)
	}
	if b != nil {
		if p.conn, err = net.FileConn(p.cmd.ExtraFiles[0]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.conn.Close() })
	}
	return p
}

// end ends it and leaves its connection open.
func (p *process) end() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// hello makes its connection one that the bus knows.
func (p *process) hello(t *testing.T) *dbus.Conn {
	t.Helper()
	conn, err := dbus.NewConn(p.conn)
	if err == nil {
		err = conn.Auth([]dbus.Auth{dbus.AuthExternal("0")})
	}
	if err == nil {
		err = conn.Hello()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// recycle begins a process that is called pid, which is free.
func recycle(t *testing.T, b *bus, pid int) *process {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Skipf("no PID can be chosen here: %v", err)
		}
		if p := begin(t, b); p.pid == pid {
			return p
		} else {
			p.end()
		}
	}
	t.Skipf("PID %d was never free", pid)
	return nil
}

// units are the units of processes, by their numbers, as the cgroup of whoever has a
// number now would tell.
type units struct {
	mu sync.Mutex
	of map[int]string
}

func (u *units) set(pid int, unit string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.of[pid] = unit
}

func (u *units) unit(pidfd int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(string(text), "\nPid:")
	line, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		return "", err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if unit := u.of[pid]; unit != "" {
		return unit, nil
	}
	return "", callers.ErrNoUnit
}

func (r *registry) heardOf(unit string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, text := range r.registered {
		if strings.HasPrefix(text, unit) {
			return true
		}
	}
	return false
}

// A process connects, leaves the connection to another and ends; its PID becomes that
// of a service's process, for which the connection speaks from then on if the PID is
// believed.
func TestAConnectionLeftBehindSpeaksForNobody(t *testing.T) {
	for name, c := range map[string]struct{ early, alone bool }{
		"known to the bus before":                       {early: true, alone: true},
		"known to the bus only after":                   {early: false, alone: true},
		"known before, and the service has its own":     {early: true},
		"known only after, and the service has its own": {early: false},
	} {
		t.Run(name, func(t *testing.T) {
			u := &units{of: map[int]string{}}
			b, r, _, _ := openWith(t, func(_ *registry, d *Door) { d.Unit = u.unit })
			attacker := begin(t, b)
			u.set(attacker.pid, "attacker.service")
			var left *dbus.Conn
			if c.early {
				left = attacker.hello(t)
			}
			attacker.end()
			theirs := b
			if c.alone {
				theirs = nil
			}
			victim := recycle(t, theirs, attacker.pid)
			u.set(victim.pid, "victim.service")
			if !c.early {
				left = attacker.hello(t)
			}
			for range 3 {
				err := call(left, "Register", none).Err
				if got := errorName(err); got != errorPrefix+"Unidentified" && got != errorPrefix+"NoUnit" {
					t.Errorf("got %v", err)
				}
			}
			if r.heardOf("victim.service") {
				t.Error("it spoke for the service that has the PID now")
			}
			if c.alone {
				return
			}
			// The service is served as soon as nobody else goes by its number.
			own := victim.hello(t)
			left.Close()
			attacker.conn.Close()
			if !soon(func() bool { return call(own, "Register", none).Err == nil }) {
				t.Errorf("the service itself is refused: %v", call(own, "Register", none).Err)
			}
			if !r.heardOf("victim.service") {
				t.Error("nobody heard of it")
			}
		})
	}
}

// What was left behind ends while the bus is looked at, so that only the service's own
// connection is seen.
func TestAConnectionThatEndsMeanwhileSpeaksForNobody(t *testing.T) {
	u := &units{of: map[int]string{}}
	b, _, d, conn := openWith(t, func(_ *registry, d *Door) { d.Unit = u.unit })
	attacker := begin(t, b)
	left := attacker.hello(t)
	name := left.Names()[0]
	attacker.end()
	victim := recycle(t, b, attacker.pid)
	victim.hello(t)
	u.set(victim.pid, "victim.service")
	d.Vouch = func(_ context.Context, bus, pid uint32) error {
		left.Close()
		attacker.conn.Close()
		if !soon(func() bool { return peers.Vouch(int(bus), int(pid)) == nil }) {
			t.Error("the service's connection does not speak for itself")
		}
		return nil
	}
	before := openFDs(t)
	if c, err := d.identify(t.Context(), conn, name); !errors.Is(err, callers.ErrNoUnit) {
		t.Errorf("got %+v, %v", c, err)
	}
	if after := openFDs(t); after > before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

// Each connection is looked at once, and an ordinary user's calls look at none.
func TestAnOldBusIsLookedAtOnceForEachConnection(t *testing.T) {
	u := &units{of: map[int]string{}}
	var mu sync.Mutex
	var asked []uint32
	var refuse error
	b, _, d, conn := openWith(t, func(_ *registry, d *Door) {
		d.Unit = u.unit
		d.Vouch = func(_ context.Context, bus, pid uint32) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, bus, pid)
			return refuse
		}
	})
	if c, err := ask(t.Context(), conn, conn.Names()[0]); err != nil {
		t.Fatal(err)
	} else if c.pidfd >= 0 {
		c.close()
		t.Skip("this bus isn't old")
	}
	vouches := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(asked) / 2
	}
	before := openFDs(t)
	if err := call(conn, "ListNames").Err; errorName(err) != errorPrefix+"NoUnit" || vouches() != 0 {
		t.Errorf("who has no unit: %v, looked at %d times", err, vouches())
	}
	u.set(os.Getpid(), "a.service")
	mu.Lock()
	refuse = errors.New("it can't be seen")
	mu.Unlock()
	err := call(conn, "ListNames").Err
	if errorName(err) != errorPrefix+"Unidentified" || !strings.Contains(fmt.Sprint(err), "luod-reissue") || !strings.Contains(fmt.Sprint(err), "it can't be seen") {
		t.Errorf("got %v", err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
	mu.Lock()
	refuse, asked = nil, nil
	mu.Unlock()
	for range 5 {
		if err := call(conn, "ListNames").Err; err != nil {
			t.Fatal(err)
		}
	}
	if vouches() != 1 || asked[0] != uint32(b.command.Process.Pid) || asked[1] != uint32(os.Getpid()) {
		t.Errorf("asked about %v", asked)
	}
	// What is no unit's doesn't need it.
	other := b.client()
	if err := call(other, "ListFileDescriptors").Err; err != nil || vouches() != 1 {
		t.Errorf("an admin: %v, looked at %d times", err, vouches())
	}
	// A flood of connections is refused before anything is run.
	d.vouching.Lock()
	for d.newCalls.Take("a.service on new connections", time.Now()) == nil {
	}
	d.vouching.Unlock()
	if err := call(other, "ListNames").Err; errorName(err) != errorPrefix+"TooManyCalls" || vouches() != 1 {
		t.Errorf("a flood: %v, looked at %d times", err, vouches())
	}
	if err := call(conn, "ListNames").Err; err != nil {
		t.Errorf("who was known before: %v", err)
	}
}

// A kernel that can't tell who connected can't do live updates either, and luod
// doesn't keep services from starting there.
func TestOnAnOldKernelNobodyIsRefusedForNothing(t *testing.T) {
	if !oldkernel.Run(t) {
		return
	}
	for _, c := range []struct {
		status coordinator.Status
		want   string
	}{
		{coordinator.Status{Phase: coordinator.Idle, Unsupported: "no /dev/liveupdate"}, ""},
		{coordinator.Status{Phase: coordinator.Idle}, errorPrefix + "Unidentified"},
		{coordinator.Status{Phase: coordinator.Idle, Unsupported: "no /dev/liveupdate", FileDescriptors: 1}, errorPrefix + "Unidentified"},
	} {
		_, _, _, conn := openWith(t, func(r *registry, d *Door) { r.status = c.status })
		if err := call(conn, "ListNames").Err; err != nil && errorName(err) != c.want || err == nil && c.want != "" {
			t.Errorf("%+v: got %v, want %q", c.status, err, c.want)
		}
	}
}
