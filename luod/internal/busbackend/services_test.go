package busbackend

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/record"
)

func TestRegister(t *testing.T) {
	_, r, _, conn := open(t)
	v := dbus.MakeVariant
	for name, given := range map[string]map[string]dbus.Variant{
		"UnknownOption": {"colour": v("red")},
		"BadRequest":    {"on-failure": v("explode")},
	} {
		if err := call(conn, "Register", given).Err; errorName(err) != errorname.Prefix+name {
			t.Errorf("%v: %v", given, err)
		}
	}
	if err := call(conn, "Register", map[string]dbus.Variant{"timeout": v(uint64(1) << 63)}).Err; errorName(err) != errorname.Prefix+"BadRequest" {
		t.Errorf("an endless timeout: %v", err)
	}
	var path dbus.ObjectPath
	if err := call(conn, "Register", map[string]dbus.Variant{
		"timeout": v(uint64(1_500_000)), "on-failure": v("ignore"), "after": v([]string{"a.service"}), "before": v([]string{"b.service"}),
	}).Store(&path); err != nil {
		t.Fatal(err)
	}
	if path != "/org/luod/LiveUpdate1/unit/test_2eservice" {
		t.Errorf("the object is %s", path)
	}
	want := fmt.Sprintf("test.service %+v", record.Registration{Timeout: 1500 * time.Millisecond, Optional: true, After: []string{"a.service"}, Before: []string{"b.service"}})
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.registered, []string{want}) {
		t.Errorf("registered %q, want %q", r.registered, want)
	}
}

func TestWhoCallsTooOftenIsRefused(t *testing.T) {
	_, _, d, conn := open(t)
	// All that it may call has been called, an hour from now: until then the
	// clock brings nothing.
	for later := time.Now().Add(time.Hour); d.Meter.Take("test.service", later) == nil; {
	}
	if err := call(conn, "ListNames").Err; errorName(err) != errorname.Prefix+"TooManyCalls" {
		t.Errorf("got %v", err)
	}
	var s dbus.Variant
	if err := conn.Object(busserver.Name, busserver.Path).Call("org.freedesktop.DBus.Properties.Get", 0, busserver.Interface, "Phase").Store(&s); err != nil {
		t.Errorf("and luod answers nobody: %v", err)
	}
}

// Signals that no bus took are sent by the next, in order.
func TestSignalsWaitForTheBus(t *testing.T) {
	var closed sync.Mutex // the door, while it is held
	b := newBus(t)
	_, d := b.serve(t, func(*registry, *Server) {
		dial := b.front.Bus
		b.front.Bus = func(ctx context.Context, handle func(*busconn.Conn, *busconn.Message)) (*busconn.Conn, error) {
			closed.Lock()
			defer closed.Unlock()
			return dial(ctx, handle)
		}
	})
	conn := b.client()
	listen := func(conn *dbus.Conn) chan *dbus.Signal {
		signals := make(chan *dbus.Signal, 100)
		conn.Signal(signals)
		if err := conn.AddMatchSignal(dbus.WithMatchSender(busserver.Name)); err != nil {
			t.Fatal(err)
		}
		return signals
	}
	next := func(signals chan *dbus.Signal) string {
		t.Helper()
		for {
			select {
			case s := <-signals:
				if s.Name == busserver.Interface+".PrepareForLiveUpdate" || s.Name == "org.luod.LiveUpdate1.Unit"+".PrepareForLiveUpdate" || s.Name == "org.luod.LiveUpdate1.Unit"+".Cancelled" {
					return fmt.Sprint(s.Path, " ", s.Name, " ", len(s.Body), " ", s.Body[0])
				}
			case <-time.After(10 * time.Second):
				t.Fatal("no signal")
			}
		}
	}
	signals := listen(conn)
	d.Announce(coordinator.Signal{Start: true, Generation: 4, Deadline: time.Now().Add(time.Minute)})
	if got := next(signals); got != busserver.Path+" "+busserver.Interface+".PrepareForLiveUpdate 3 true" {
		t.Errorf("got %s", got)
	}
	closed.Lock()
	b.kill()
	const unit = busserver.Path + "/unit/x_2eservice "
	d.Announce(coordinator.Signal{Unit: "x.service", Start: true, Generation: 5, Deadline: time.Now().Add(time.Minute)})
	d.Announce(coordinator.Signal{Unit: "x.service", Generation: 6, Reason: "no"})
	b.run()
	early := make(chan *dbus.Signal, 100)
	listener, err := b.dial()
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.Signal(early)
	if err := listener.AddMatchSignal(dbus.WithMatchPathNamespace(busserver.Path)); err != nil {
		t.Fatal(err)
	}
	closed.Unlock()
	var got []string
	for range 2 {
		got = append(got, next(early))
	}
	if want := []string{unit + "org.luod.LiveUpdate1.Unit" + ".PrepareForLiveUpdate 2 5", unit + "org.luod.LiveUpdate1.Unit" + ".Cancelled 2 6"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAnInhibitorHoldsAsLongAsTheCallerKeepsIt(t *testing.T) {
	_, _, d, conn := open(t)
	if err := call(conn, "Inhibit", "sleep", "x", "y", "block").Err; errorName(err) != errorname.Prefix+"BadRequest" {
		t.Fatalf("another what: %v", err)
	}
	before := openFDs(t)
	for range 20 {
		var fd dbus.UnixFD
		if err := call(conn, "Inhibit", "live-update", "me", "why", "block").Store(&fd); err != nil {
			t.Fatal(err)
		}
		var list []buslink.Inhibitor
		if err := call(conn, "ListInhibitors").Store(&list); err != nil || len(list) == 0 || list[len(list)-1].Who != "me" || list[len(list)-1].PID == 0 {
			t.Fatalf("%+v, %v", list, err)
		}
		unix.Close(int(fd))
	}
	if !soon(func() bool { return len(d.Locks.List()) == 0 }) {
		t.Errorf("still locked: %+v", d.Locks.List())
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
}
