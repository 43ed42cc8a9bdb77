package busbackend

import (
	"errors"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// The bus is asked once for each caller, and the unit looked up for each call.
func TestACallerIsIdentifiedOnceAndItsUnitEachTime(t *testing.T) {
	_, r, _, conn := open(t)
	call(conn, "ListNames")
	time.Sleep(100 * time.Millisecond) // what is closed after an answer is
	before := openFDs(t)
	for range 20 {
		if err := call(conn, "ListNames").Err; err != nil {
			t.Fatal(err)
		}
	}
	r.mu.Lock()
	r.noUnit = callers.ErrNoUnit // it has moved into another cgroup
	r.mu.Unlock()
	if err := call(conn, "ListNames").Err; errorName(err) != errorname.Prefix+"NoUnit" {
		t.Errorf("got %v", err)
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
}

// What changes while the door is opening is not forgotten, and an older status does
// not cover it.
func TestAChangeWhileTheDoorOpensIsShown(t *testing.T) {
	_, _, _, conn := openWith(t, func(r *registry, d *Server) {
		r.asked = func() {
			d.Changed(coordinator.Status{Phase: phase.Preparing, Generation: 4, FileDescriptors: 7})
		}
	})
	object := conn.Object(busserver.Name, busserver.Path)
	for name, want := range map[string]any{"Phase": string(phase.Preparing), "Generation": uint64(4), "FileDescriptors": uint64(7)} {
		if v, err := object.GetProperty(busserver.Interface + "." + name); err != nil || v.Value() != want {
			t.Errorf("%s is %v, %v", name, v, err)
		}
	}
}

// Changes in a row are one signal, unless the phase is among them, and whoever asks
// gets the new value at once.
func TestManyChangesAreOneSignal(t *testing.T) {
	_, _, d, conn := open(t)
	signals := make(chan *dbus.Signal, 1000)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(dbus.WithMatchInterface("org.freedesktop.DBus.Properties")); err != nil {
		t.Fatal(err)
	}
	for n := range uint64(200) {
		d.Changed(coordinator.Status{Phase: phase.Idle, Generation: 3, FileDescriptors: n + 1, Bytes: n})
	}
	v, err := conn.Object(busserver.Name, busserver.Path).GetProperty(busserver.Interface + ".FileDescriptors")
	if err != nil || v.Value() != uint64(200) {
		t.Errorf("file descriptors %v, %v", v, err)
	}
	count, last := 0, map[string]dbus.Variant{}
	for deadline := time.After(10 * time.Second); last["FileDescriptors"].Value() != uint64(200); {
		select {
		case s := <-signals:
			if len(s.Body) > 1 {
				count++
				last = s.Body[1].(map[string]dbus.Variant)
			}
		case <-deadline:
			t.Fatal(errors.New("the last change was not announced"))
		}
	}
	if last["Bytes"].Value() != uint64(199) || count > 100 {
		t.Errorf("%d signals, the last with %v", count, last)
	}
	// Phases are never left out.
	phases := []phase.Phase{phase.Checking, phase.Preparing, phase.Packing}
	for _, phase := range phases {
		d.Changed(coordinator.Status{Phase: phase, Generation: 3})
	}
	for _, phase := range phases {
		select {
		case s := <-signals:
			if got := s.Body[1].(map[string]dbus.Variant)["Phase"].Value(); got != string(phase) {
				t.Errorf("announced %v, want %s", got, phase)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("a phase was not announced")
		}
	}
}
