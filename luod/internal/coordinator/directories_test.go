package coordinator

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/record"
)

const runX = "/run/x"

// packs has the unit keep a memfd in its fd store and a directory, which can be
// packed once the unit has stopped.
func (w *world) packs(unit string) {
	w.t.Helper()
	w.declare(unit, "Preserve=fdstore\nDirectories="+runX+"\n")
	w.keeps(unit, 1)
	stores := w.adopting
	w.active = []string{unit, d}
	w.adopting = func(caller string, args []string) error {
		if args[0] != "--directories" {
			return stores(caller, args)
		}
		if !slices.Equal(args, []string{"--directories", unit + "=" + runX}) || slices.Contains(w.active, unit) {
			return errors.New("it runs still, or something else is wanted")
		}
		for _, path := range []string{"/etc", "/run/y"} {
			f := memfd(w.t, "evil")
			err := w.c.Adopt(ctx, caller, unit, []string{entryname.DirectoryName(path)}, []*os.File{f})
			w.expectFault(err, "NotPreparing")
			f.Close()
		}
		w.stores = nil // PID 1 lets go of it
		f := memfd(w.t, "tree")
		err := w.c.Adopt(ctx, caller, unit, []string{entryname.DirectoryName(runX)}, []*os.File{f})
		if err != nil {
			f.Close()
		}
		return err
	}
}

// names are those of what luod has for unit, as the unit sees it, and then what only
// luod-reissue gets.
func (w *world) names(unit string) []string {
	w.t.Helper()
	own, err := w.c.Own(ctx, unit)
	if err != nil {
		w.t.Fatal(err)
	}
	all, err := w.c.List(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	var names []string
	for _, h := range own {
		if entryname.OfNoUse(h.Name) {
			w.t.Errorf("%s is shown %q", unit, h.Name)
		}
		names = append(names, h.Name)
	}
	for _, h := range all {
		if h.Unit == unit && entryname.OfNoUse(h.Name) {
			names = append(names, h.Name)
		}
	}
	return names
}

func TestDirectoriesComeAlong(t *testing.T) {
	w := newWorld(t)
	w.preserve(b, 1)
	w.packs(a)
	w.update()
	if !slices.Equal(w.halted, []string{a}) {
		t.Fatalf("stopped %q", w.halted)
	}
	w.reboot()
	w.fetch(b, 1)
	want := []string{"store:0:stored", "directory:/run/x"}
	if got := w.names(a); !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
	if own, err := w.c.Retrieve(ctx, a, nil); err != nil || !slices.Equal(own.Names, want[:1]) {
		t.Errorf("over D-Bus it gets %q, %v", own.Names, err)
	} else {
		own.Close()
	}
	w.reissue(a)
	w.clock.advance(3 * time.Second)
	if got := w.names(a); len(got) != 0 {
		t.Fatalf("luod still holds %q", got)
	}
	w.expect(phase.Idle, 1)
}

// Whoever was stopped for its directories runs again, and gets what PID 1 dropped
// when it stopped.
func TestDirectoriesAreLeftWhenTheUpdateIsTakenBack(t *testing.T) {
	for name, spoil := range map[string]func(w *world){
		"it can't be packed": func(w *world) {
			pack := w.adopting
			w.adopting = func(caller string, args []string) error {
				if args[0] == "--directories" {
					w.stores = nil
					return errors.New("the directory is too large")
				}
				return pack(caller, args)
			}
		},
		"it does not stop": func(w *world) { w.stopErr = errors.New("it hangs") },
		"the jump fails":   func(w *world) { w.jumpErr = errors.New("no") },
		"luod is killed with the unit stopped": func(w *world) {
			pack := w.adopting
			w.adopting = func(caller string, args []string) error {
				if args[0] == "--directories" {
					w.stores = nil
					w.kill()
					w.start()
					return errors.New("luod is gone")
				}
				return pack(caller, args)
			}
		},
		"it hands over less": func(w *world) { w.adopting = ignoreDirectories(w.adopting) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.packs(a)
			spoil(w)
			w.load()
			if _, err := w.c.LiveUpdate(ctx, record.Options{}); err == nil {
				t.Fatal("it went through")
			}
			w.until(phase.Idle)
			w.runsAgain(a, d)
			if got := w.names(a); !slices.Equal(got, []string{"store:0:stored"}) {
				t.Fatalf("the vault has %q", got)
			}
			if out := w.kernel.Outgoing(); len(out) != 0 {
				t.Fatalf("still preserved: %v", out)
			}
			// Its start fetches it by luod-reissue.
			w.reissue(a)
			w.clock.advance(3 * time.Second)
			if got := w.names(a); len(got) != 0 {
				t.Fatalf("luod still holds %q", got)
			}
		})
	}
}

func ignoreDirectories(stores func(string, []string) error) func(string, []string) error {
	return func(caller string, args []string) error {
		if strings.HasPrefix(args[0], "--") {
			return nil
		}
		return stores(caller, args)
	}
}

// What could not be put back is noticed while everybody runs.
func TestDirectoriesThatCouldNotBePackedAreRefusedBeforeAnythingStops(t *testing.T) {
	w := newWorld(t)
	w.packs(a)
	w.checkErr = errors.New("/run/x/null is a device node")
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); err == nil || !strings.Contains(err.Error(), "device node") {
		t.Fatalf("got %v", err)
	}
	w.until(phase.Idle)
	if len(w.halted) != 0 {
		t.Errorf("stopped %q", w.halted)
	}
}

// A unit that has failed, and whose store PID 1 keeps, is not started by an update that is
// taken back.
func TestAUnitThatDoesNotRunIsNotStarted(t *testing.T) {
	w := newWorld(t)
	m := w.manage(262)
	m.everyStore()
	m.up(everyStore...)
	if err := m.Manager.Stop(ctx, []string{packing, kept}); err != nil {
		t.Fatal(err)
	}
	w.load()
	w.jumpErr = errTest
	for _, fast := range []bool{false, true} {
		if err := w.tryUpdate(fast); err == nil {
			t.Fatal("it went through")
		}
		w.until(phase.Idle)
		w.runsAgain()
		for _, unit := range []string{packing, kept, dependent} {
			if s := m.State(unit).Active; s != "inactive" {
				t.Errorf("fast %t: %s is %s", fast, unit, s)
			}
		}
		if s := m.State(ordinary).Active; s != "active" {
			t.Errorf("fast %t: %s is %s", fast, ordinary, s)
		}
	}
}
