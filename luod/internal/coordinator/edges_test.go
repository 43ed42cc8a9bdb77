package coordinator

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
)

// What luod has for a unit that started without it, it keeps also when an update is taken
// back: PID 1 has something else.
func TestAnUpdateTakenBackCostsNothingThatWaits(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.keeping(ordinary, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		if err := p.Push("old", memfd(t, "old")); err != nil {
			t.Error(err)
		}
	})
	m.up(ordinary)
	w.load()
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	// luod-reissue --optional, whose luod could not be reached.
	i := slices.IndexFunc(m.units, func(u fakepid1.Unit) bool { return u.Name == ordinary })
	m.units[i].StartPre = func(p *fakepid1.Process) error { return p.Push("new", memfd(t, "new")) }
	m.Define(m.units[i])
	m.up(ordinary)
	w.clock.advance(5 * time.Second)
	if got := w.names(ordinary); len(got) != 1 {
		t.Fatalf("luod has %q", got)
	}
	w.load()
	w.jumpErr = errTest
	if err := w.tryUpdate(false); err == nil {
		t.Fatal("it went through")
	}
	w.until(phase.Idle)
	w.clock.advance(5 * time.Second)
	if got := w.names(ordinary); !slices.Equal(got, []string{"store:0:old"}) {
		t.Errorf("luod has %q", got)
	}
}

// And an update that stops the unit first is not refused for it: it comes along.
func TestWhatWaitsComesAlongWithWhatIsStoppedFirst(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.keeping(kept, "Preserve=fdstore\n", fakepid1.Unit{Preserve: "yes"}, func(p *fakepid1.Process) {
		if err := p.Push("x", memfd(t, "old")); err != nil {
			t.Error(err)
		}
	})
	m.up(kept)
	w.load()
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	i := slices.IndexFunc(m.units, func(u fakepid1.Unit) bool { return u.Name == kept })
	reissue := m.units[i].StartPre
	m.units[i].StartPre = func(p *fakepid1.Process) error { return p.Push("x", memfd(t, "new")) }
	m.Define(m.units[i])
	m.up(kept)
	w.clock.advance(5 * time.Second)
	w.load()
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	m.units[i].StartPre = reissue
	w.reboot()
	if got := m.up(kept)[kept]; len(got) != 2 {
		t.Errorf("it has %q", got)
	}
}

// What a unit uses up between two updates that are taken back is gone too.
func TestWhatIsUsedUpBetweenTwoUpdatesStaysGone(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	var process *fakepid1.Process
	m.keeping(ordinary, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		process = p
		for _, name := range []string{"stays", "goes"} {
			if err := p.Push(name, memfd(t, name)); err != nil {
				t.Error(err)
			}
		}
	})
	m.up(ordinary)
	w.load()
	w.jumpErr = errTest
	for range 2 {
		if err := w.tryUpdate(false); err == nil {
			t.Fatal("it went through")
		}
		w.until(phase.Idle)
		if err := process.Remove("goes"); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.advance(5 * time.Second)
	if got := w.names(ordinary); len(got) != 0 {
		t.Errorf("luod still holds %q", got)
	}
}

// A service that asks over D-Bus too, as the README shows, and uses up what was in its
// store, does not get that once more.
func TestWhatIsUsedUpStaysGoneWhoeverAsks(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	var process *fakepid1.Process
	m.keeping(ordinary, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		if err := p.Push("goes", memfd(t, "goes")); err != nil {
			t.Error(err)
		}
	})
	m.onStart(ordinary, func(p *fakepid1.Process) { process = p })
	m.up(ordinary)
	w.load()
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	m.up(ordinary)
	fetch, err := w.c.Retrieve(ctx, ordinary, nil) // over D-Bus
	if err != nil {
		t.Fatal(err)
	}
	fetch.Close()
	if err := w.c.Fetched(ctx, ordinary, slices.DeleteFunc(fetch.Names, entryname.Adopted)); err != nil {
		t.Fatal(err)
	}
	if err := process.Remove("goes"); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(5 * time.Second)
	if got := w.names(ordinary); len(got) != 0 {
		t.Errorf("luod still holds %q", got)
	}
}

// However often a unit asks while it starts, PID 1 is asked about it once a second.
func TestAUnitIsLookedAtOnceASecond(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.keeps(a, 1)
	w.preserve(a, 1)
	w.update()
	w.reboot()
	w.running[a] = pid1.Running{State: "activating", InvocationID: "1"}
	for range 100 {
		if err := w.c.Fetched(ctx, a, []string{"fd-0"}); err != nil {
			t.Fatal(err)
		}
	}
	w.clock.advance(2 * time.Second)
	w.clock.mu.Lock()
	defer w.clock.mu.Unlock()
	n := 0
	for _, alarm := range w.clock.alarms {
		if alarm.f != nil {
			n++
		}
	}
	if n > 3 {
		t.Errorf("%d alarms are set", n)
	}
}

// What a unit gives up while others are stopped for the update, it may still have in its
// store.
func TestWhatAStoreNeedsIsNotReleasedWhileOthersStop(t *testing.T) {
	for name, plain := range map[string]string{"as it is": "table", "as another": "other"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			m := w.manage(257)
			m.everyStore()
			m.keeping(a, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
				f := memfd(t, "table")
				if err := p.Push(plain, f); err != nil {
					t.Error(err)
				}
				if err := w.c.Preserve(ctx, a, []string{"table"}, []*os.File{f}); err != nil {
					t.Error(err)
				}
			})
			m.up(a, packing)
			var released error
			m.onStop(packing, func() { released = w.c.Release(ctx, a, []string{"table"}) })
			w.load()
			if err := w.tryUpdate(false); err != nil {
				t.Fatal(err)
			}
			t.Log("release:", released)
			w.reboot()
			fetch, err := w.c.Retrieve(ctx, a, nil)
			if err != nil {
				t.Fatal(err)
			}
			fetch.Close()
			if len(fetch.Names) == 0 || fetch.Names[0] != "table" {
				t.Errorf("it has %q", fetch.Names)
			}
		})
	}
}

// A unit with a directory that an admin has stopped is not started by an update that is
// taken back.
func TestWhatWasStoppedForItsDirectoryStaysStopped(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.keeping(packing, "Preserve=fdstore\nDirectories=/run/x\n", fakepid1.Unit{Preserve: "yes"}, func(p *fakepid1.Process) {
		if err := p.Push("p", memfd(t, "p")); err != nil {
			t.Error(err)
		}
	})
	m.units = append(m.units, fakepid1.Unit{Name: "a.target", Wants: []string{packing}})
	m.Define(m.units...)
	if err := m.Start(ctx, []string{"a.target"}); err != nil {
		t.Fatal(err)
	}
	if err := m.Manager.Stop(ctx, []string{packing}); err != nil {
		t.Fatal(err)
	}
	w.load()
	w.jumpErr = errTest
	if err := w.tryUpdate(false); err == nil {
		t.Fatal("it went through")
	}
	w.until(phase.Idle)
	w.runsAgain()
	if s := m.State(packing).Active; s != "inactive" {
		t.Errorf("it is %s", s)
	}
}

// slow is a PID 1 that answers about stores after something else has happened.
type slow struct {
	*managed
	then func()
}

func (s *slow) Stores(ctx context.Context, units []string) (map[string]pid1.Store, error) {
	stores, err := s.managed.Stores(ctx, units)
	if then := s.then; then != nil {
		s.then = nil
		then()
	}
	return stores, err
}

// A unit that is restarted, and whose start fails, just when luod looks.
func TestAStartThatFailsWhileLuodLooksCostsNothing(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	fail := false
	m.keeping(ordinary, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		if err := p.Push("x", memfd(t, "x")); err != nil {
			t.Error(err)
		}
	})
	i := slices.IndexFunc(m.units, func(u fakepid1.Unit) bool { return u.Name == ordinary })
	start := m.units[i].Start
	m.units[i].Start = func(p *fakepid1.Process) error {
		if fail {
			return errTest
		}
		return start(p)
	}
	m.Define(m.units[i])
	m.up(ordinary)
	w.load()
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	m.up(ordinary)
	s := &slow{managed: m}
	s.then = func() {
		fail = true
		if err := m.Restart(ctx, ordinary); err == nil || !strings.Contains(err.Error(), errTest.Error()) {
			t.Error("its start succeeds", err)
		}
		fail = false
	}
	w.c.Units, w.c.Stores.Units = s, s
	w.clock.advance(5 * time.Second)
	if got := fmt.Sprint(m.State(ordinary).Active, m.Store(ordinary)); got != "failed[]" {
		t.Fatal(got)
	}
	if got := w.names(ordinary); len(got) != 1 {
		t.Errorf("luod has %q", got)
	}
}

// A holder that PID 1 could not end is ended later.
type stubborn struct {
	*world
	stopErr error
}

func (s *stubborn) StopHolder(ctx context.Context) error {
	if s.stopErr != nil {
		return s.stopErr
	}
	return s.world.StopHolder(ctx)
}

func TestAHolderThatCouldNotBeEndedIsEndedLater(t *testing.T) {
	w := newWorld(t)
	w.preserve(b, 1)
	w.load()
	s := &stubborn{w, nil}
	w.c.Units, w.c.Stores.Units = s, s
	if err := w.tryUpdate(false); err != nil {
		t.Fatal(err)
	}
	s.stopErr = errTest
	w.results <- errTest
	w.until(phase.Idle)
	s.stopErr = nil
	w.clock.advance(time.Minute)
	if out := w.kernel.Outgoing(); len(out)+len(w.holding.Files) != 0 {
		t.Errorf("still preserved: %v", out)
	}
}
