package coordinator

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

const packRequest = luofake.PreserveFD

// Whatever takes an update back, every service has its store again: the same bytes under
// the same names, in the same order, opened alike. And the next update brings all of it
// through.
func TestEveryWayBackLeavesEveryStore(t *testing.T) {
	for _, version := range []int{257, 262} {
		for name, way := range waysBack {
			t.Run(fmt.Sprintf("%s/%d", name, version), func(t *testing.T) {
				w := newWorld(t)
				m := w.manage(version)
				m.everyStore()
				before := m.up(everyStore...)
				w.load()
				if err := way.run(w); err == nil {
					t.Fatal("it went through")
				}
				w.jumpErr, w.holderErr = nil, nil
				m.Serve(adoptProgram, m.adopt)
				m.onStop(ordinary, func() {})
				w.until(phase.Idle)
				if s := m.State(standing).Active; (s == "active") == slices.Contains([]string{"a shutdown is cancelled", "a shutdown is cancelled, luod killed"}, name) {
					t.Errorf("the bystander is %s", s)
				}
				if !soon(func() bool {
					owing, err := locked(ctx, w.c, func() (bool, error) { return len(w.c.Rec.Stopped) > 0, nil })
					return err == nil && !owing
				}) {
					t.Fatal("not all are started again")
				}
				if after := m.up(everyStore...); !reflect.DeepEqual(after, before) {
					t.Fatalf("the services have\n%q, and had\n%q", after, before)
				}
				if out := w.kernel.Outgoing(); len(out) != 0 || len(w.holding.Files) != 0 {
					t.Fatalf("still preserved: %v, held twice: %q", out, w.holding.Names)
				}
				m.settledAll()
				w.load()
				w.tryAndBoot(before)
			})
		}
	}
}

// tryAndBoot brings all through an update.
func (w *world) tryAndBoot(before map[string][]string) {
	w.t.Helper()
	if err := w.tryUpdate(w.m.version >= 261); err != nil { // an orderly one leaves some to PID 1
		w.t.Fatal(err)
	}
	w.shutDown()
	w.reboot()
	if after := w.m.up(everyStore...); !reflect.DeepEqual(after, before) {
		w.t.Fatalf("after the update the services have\n%q, and had\n%q", after, before)
	}
	w.m.settledAll()
	w.expect(phase.Idle, 1)
}

// What was stopped for a fast jump that does not happen is started again, and nothing
// else is: not what an admin has stopped, nor what has ended by itself.
func TestOnlyWhatWasStoppedIsStartedAgain(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.everyStore()
	m.Define(fakepid1.Unit{Name: "ended.service"})
	m.up(append(everyStore, "ended.service")...)
	w.load()
	if err := w.tryUpdate(true); err != nil {
		t.Fatal(err)
	}
	if err := m.Exit(ctx, "ended.service", nil); err != nil {
		t.Fatal(err)
	}
	if err := m.Manager.Stop(ctx, []string{standing}); err != nil {
		t.Fatal(err)
	}
	w.results <- errTest
	w.until(phase.Idle)
	if !soon(func() bool {
		return !slices.ContainsFunc(everyStore, func(u string) bool { return m.State(u).Active != "active" })
	}) {
		t.Error("not all run again")
	}
	for _, unit := range []string{standing, "ended.service"} {
		if s := m.State(unit).Active; s != "inactive" {
			t.Errorf("%s is %s", unit, s)
		}
	}
}

// When systemd-shutdown has taken PID 1's place its fd stores are gone and nobody starts
// luod again. A luod that dies then, or whatever holds the sessions beside it, costs
// nothing.
func TestNoSingleDeathInTheLastSecondLosesAnything(t *testing.T) {
	for name, die := range map[string]func(w *world){
		"luod":        func(w *world) { w.c.Close() },
		"its second":  func(w *world) { w.holding.Close() },
		"nobody dies": func(*world) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preserve(a, 120)
			w.session(b, "vm", "state")
			w.update()
			w.store.Close()
			die(w)
			w.reboot()
			w.fetch(a, 120)
			w.emptied(b, "vm", "state")
			if s := w.status(); len(s.Lost) != 0 || s.Generation != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestOnlyTheSecondHolderGetsSessions(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 1)
	_, err := w.c.Sessions(ctx, pid1.HolderUnit)
	w.expectFault(err, "NotPreparing")
	w.update()
	_, err = w.c.Sessions(ctx, a)
	w.expectFault(err, "NotPreparing")
	before := openFDs(t)
	fetch, err := w.c.Sessions(ctx, pid1.HolderUnit)
	if err != nil || len(fetch.Files) != 2 {
		t.Fatalf("%q, %v", fetch.Names, err)
	}
	fetch.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

// What a unit has in its store comes along though the unit doesn't run: it was stopped, or
// is about to be started again.
func TestStoresOfUnitsThatDoNotRunComeAlong(t *testing.T) {
	for _, version := range []int{257, 262} {
		for _, fast := range []bool{false, true} {
			if version == 262 && !fast {
				continue // PID 1 carries it
			}
			t.Run(fmt.Sprint(version, fast), func(t *testing.T) {
				w := newWorld(t)
				m := w.manage(version)
				m.everyStore()
				m.units = append(m.units, fakepid1.Unit{Name: "a.target", Wants: []string{kept}})
				m.keeping("again.service", "Preserve=fdstore\n", fakepid1.Unit{Restart: true}, func(p *fakepid1.Process) {
					if err := p.Push("r", memfd(t, "again")); err != nil {
						t.Error(err)
					}
				})
				m.Define(m.units...)
				units := []string{kept, "again.service"}
				before := m.up(units...)
				if err := m.Start(ctx, []string{"a.target"}); err != nil {
					t.Fatal(err)
				}
				if err := m.Manager.Stop(ctx, []string{kept}); err != nil {
					t.Fatal(err)
				}
				if err := m.Exit(ctx, "again.service", errTest); err != nil {
					t.Fatal(err)
				}
				if len(m.Store(kept)) != 2 || len(m.Store("again.service")) != 1 {
					t.Fatalf("PID 1 has not kept the stores: %v, %v", m.Store(kept), m.Store("again.service"))
				}
				w.load()
				if err := w.tryUpdate(fast); err != nil {
					t.Fatal(err)
				}
				w.reboot()
				if after := m.up(units...); !reflect.DeepEqual(after, before) {
					t.Fatalf("they have %q, and had %q", after, before)
				}
			})
		}
	}
}

// What goes out of a store that PID 1 keeps, while its unit stops, takes the update back:
// nobody knows who has let it go.
func TestAnEntryThatVanishesTakesTheUpdateBack(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.keeping(kept, "Preserve=fdstore\n", fakepid1.Unit{Preserve: "yes", Stop: func(p *fakepid1.Process) error { return p.Remove("k1") }}, func(p *fakepid1.Process) {
		for _, name := range []string{"k1", "k2"} {
			if err := p.Push(name, memfd(t, name)); err != nil {
				t.Error(err)
			}
		}
	})
	before := m.up(kept)
	w.load()
	var f *fault.Fault
	if err := w.tryUpdate(false); !errors.As(err, &f) || f.Name != "StoreChanged" || !strings.Contains(err.Error(), `"k1" was in the fd store of kept.service`) {
		t.Fatalf("got %v", err)
	}
	w.until(phase.Idle)
	w.runsAgain()
	// The unit's next start has it, in the order in which it was pushed.
	after := m.up(kept)
	slices.Sort(after[kept])
	slices.Sort(before[kept])
	if !reflect.DeepEqual(after, before) {
		t.Errorf("it has %q, and had %q", after, before)
	}
}

// A limit that was lowered, and that PID 1 doesn't know of yet, is noticed before anything
// is stopped.
func TestWhatWouldNotFitAgainIsRefused(t *testing.T) {
	w := newWorld(t)
	m := w.manage(257)
	m.everyStore()
	m.up(everyStore...)
	file, err := os.ReadFile(w.units[ordinary])
	if err != nil {
		t.Fatal(err)
	}
	limit := func(n int) {
		if err := os.WriteFile(w.units[ordinary], fmt.Appendf(slices.Clone(file), "[Service]\nFileDescriptorStoreMax=%d\n", n), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	w.load()
	limit(2)
	for _, dry := range []bool{true, false} {
		_, err := w.c.LiveUpdate(ctx, record.Options{DryRun: dry})
		w.expectFault(err, "WouldNotFit")
	}
	if s := m.State(ordinary).Active; s != "active" {
		t.Errorf("it was stopped: %s", s)
	}
	limit(3)
	if err := w.tryUpdate(false); err != nil {
		t.Error(err)
	}
}

// What a unit has taken out of its store itself it does not get once more.
func TestWhatAServiceHasUsedUpStaysGone(t *testing.T) {
	for name, removed := range map[string]func(w *world, m *managed, kept *fakepid1.Process){
		"after an update": func(w *world, m *managed, _ *fakepid1.Process) {
			if err := w.tryUpdate(false); err != nil {
				t.Fatal(err)
			}
			w.reboot()
			m.up(ordinary)
		},
		"after one that was taken back": func(w *world, m *managed, _ *fakepid1.Process) {
			w.jumpErr = errTest
			if err := w.tryUpdate(false); err == nil {
				t.Fatal("it went through")
			}
			w.until(phase.Idle)
		},
	} {
		t.Run(name, func(t *testing.T) {
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
			m.onStart(ordinary, func(p *fakepid1.Process) { process = p })
			m.up(ordinary)
			w.load()
			removed(w, m, process)
			if err := process.Remove("goes"); err != nil {
				t.Fatal(err)
			}
			w.clock.advance(5 * time.Second)
			if got := w.names(ordinary); len(got) != 0 {
				t.Errorf("luod still holds %q", got)
			}
		})
	}
}
