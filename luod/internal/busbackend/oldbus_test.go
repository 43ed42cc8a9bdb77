package busbackend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/internal/peers/leftbehind"
	"github.com/liveupdate/luod/internal/peers/oldkernel"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// hello makes p's connection one that the bus knows.
func hello(t *testing.T, p *leftbehind.Process) *dbus.Conn {
	t.Helper()
	conn, err := dbus.NewConn(p.Conn)
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
			b, r, _, _ := openWith(t, func(_ *registry, d *Server) { d.Unit = u.unit })
			attacker := leftbehind.Begin(t, b.path())
			u.set(attacker.PID, "attacker.service")
			var left *dbus.Conn
			if c.early {
				left = hello(t, attacker)
			}
			attacker.End()
			theirs := b.path()
			if c.alone {
				theirs = ""
			}
			victim := leftbehind.Recycle(t, theirs, attacker.PID)
			u.set(victim.PID, "victim.service")
			if !c.early {
				left = hello(t, attacker)
			}
			for range 3 {
				err := call(left, "Register", none).Err
				if got := errorName(err); got != errorname.Prefix+"Unidentified" && got != errorname.Prefix+"NoUnit" {
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
			own := hello(t, victim)
			left.Close()
			attacker.Conn.Close()
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
	vouched := make(chan struct{})
	var end func()
	b, r, _, conn := openWith(t, func(_ *registry, d *Server) {
		d.Unit = u.unit
		d.Vouch = func(_ context.Context, bus, pid uint32) error {
			defer close(vouched)
			end()
			if !soon(func() bool { return peers.Vouch(int(bus), int(pid)) == nil }) {
				t.Error("the service's connection does not speak for itself")
			}
			return nil
		}
	})
	call(conn, "ListNames")
	attacker := leftbehind.Begin(t, b.path())
	left := hello(t, attacker)
	attacker.End()
	victim := leftbehind.Recycle(t, b.path(), attacker.PID)
	hello(t, victim)
	u.set(victim.PID, "victim.service")
	end = func() {
		left.Close()
		attacker.Conn.Close()
	}
	before := openFDs(t)
	left.Object(busserver.Name, busserver.Path).Go(busserver.Interface+".Register", 0, nil, none)
	select {
	case <-vouched:
	case <-time.After(20 * time.Second):
		t.Fatal("nobody looked at the bus")
	}
	// What comes after it on the same socket has been answered when this has.
	for range 3 {
		call(conn, "ListNames")
	}
	time.Sleep(300 * time.Millisecond)
	if r.heardOf("victim.service") {
		t.Error("it spoke for the service that has the PID now")
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
}

// Each connection is looked at once, and an ordinary user's calls look at none.
func TestAnOldBusIsLookedAtOnceForEachConnection(t *testing.T) {
	u := &units{of: map[int]string{}}
	var mu sync.Mutex
	var asked []uint32
	var refuse error
	b, _, d, conn := openWith(t, func(_ *registry, d *Server) {
		d.Unit = u.unit
		d.Vouch = func(_ context.Context, bus, pid uint32) error {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, bus, pid)
			return refuse
		}
	})
	var told map[string]dbus.Variant
	if err := conn.BusObject().Call("org.freedesktop.DBus.GetConnectionCredentials", 0, conn.Names()[0]).Store(&told); err != nil {
		t.Fatal(err)
	} else if fd, is := told["ProcessFD"].Value().(dbus.UnixFD); is {
		unix.Close(int(fd))
		t.Skip("this bus isn't old")
	}
	vouches := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(asked) / 2
	}
	before := openFDs(t)
	if err := call(conn, "ListNames").Err; errorName(err) != errorname.Prefix+"NoUnit" || vouches() != 0 {
		t.Errorf("who has no unit: %v, looked at %d times", err, vouches())
	}
	u.set(os.Getpid(), "a.service")
	mu.Lock()
	refuse = errors.New("it can't be seen")
	mu.Unlock()
	err := call(conn, "ListNames").Err
	if errorName(err) != errorname.Prefix+"Unidentified" || !strings.Contains(fmt.Sprint(err), "luod-reissue") || !strings.Contains(fmt.Sprint(err), "it can't be seen") {
		t.Errorf("got %v", err)
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
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
	if err := call(other, "ListNames").Err; errorName(err) != errorname.Prefix+"TooManyCalls" || vouches() != 1 {
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
		{coordinator.Status{Phase: phase.Idle, Unsupported: "no /dev/liveupdate"}, ""},
		{coordinator.Status{Phase: phase.Idle}, errorname.Prefix + "Unidentified"},
		{coordinator.Status{Phase: phase.Idle, Unsupported: "no /dev/liveupdate", FileDescriptors: 1}, errorname.Prefix + "Unidentified"},
	} {
		_, _, _, conn := openWith(t, func(r *registry, d *Server) { r.status = c.status })
		if err := call(conn, "ListNames").Err; err != nil && errorName(err) != c.want || err == nil && c.want != "" {
			t.Errorf("%+v: got %v, want %q", c.status, err, c.want)
		}
	}
}
