package coordinator

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/holdings"
)

// staked are the stakes of w, which must all be of units.
func (w *world) staked() []holdings.Stake {
	w.t.Helper()
	s, err := w.c.Stakes(ctx)
	if err != nil || s.Unread != "" || s.Stuck != 0 {
		w.t.Fatalf("%+v, %v", s, err)
	}
	return s.Units
}

// nothingLeft says that luod and its fd store have nothing, now and after a restart.
func (w *world) nothingLeft() {
	w.t.Helper()
	for range 2 {
		if s := w.staked(); len(s) != 0 {
			w.t.Fatalf("still at stake: %+v", s)
		}
		if entries := w.store.Names(); len(entries) != 0 {
			w.t.Fatalf("still in the fd store: %v", entries)
		}
		w.kill()
		w.start()
	}
}

func TestWhatUnitsHaveThemselvesIsAtStakeToo(t *testing.T) {
	w := newWorld(t)
	if s := w.staked(); len(s) != 0 {
		t.Fatalf("at the beginning: %+v", s)
	}
	w.preserve(a, 2)
	w.preserve(b, 1)
	w.update()
	w.reboot()
	w.fetch(b, 1)
	w.session(d, "own", "x")
	s := w.staked()
	for i := range s {
		if s[i].Unit != d && s[i].Bytes == 0 {
			t.Errorf("no size: %+v", s[i])
		}
		s[i].Bytes = 0
	}
	if !slices.Equal(s, []holdings.Stake{{Unit: a, Count: 2, Waiting: 2}, {Unit: b, Count: 1}, {Unit: d, Count: 1}}) {
		t.Errorf("%+v", s)
	}
}

func TestDiscardAllLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(w *world){
		"nothing":               func(w *world) {},
		"handed over":           func(w *world) { w.preserve(a, 3); w.preserve(b, 1) },
		"sessions for the next": func(w *world) { w.session(a, "own", "x"); w.preserve(b, 1) },
		"waiting":               func(w *world) { w.preserve(a, 3); w.preserve(b, 1); w.update(); w.reboot() },
		"fetched": func(w *world) {
			w.preserve(a, 3)
			w.preserve(b, 1)
			w.update()
			w.reboot()
			w.fetch(a, 3)
			w.fetch(b, 1)
		},
		"session that came":       func(w *world) { w.session(a, "own", "x"); w.update(); w.reboot() },
		"session that came, more": func(w *world) { w.session(a, "own", "x"); w.preserve(a, 1); w.update(); w.reboot(); w.preserve(b, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			prepare(w)
			before := w.staked()
			s, err := w.c.DiscardAll(ctx)
			if err != nil || !slices.Equal(s.Units, before) {
				t.Fatalf("%+v, and had %+v: %v", s, before, err)
			}
			w.nothingLeft()
			if in := w.kernel.Incoming(); len(in) != 0 {
				t.Fatalf("the kernel still has %v", in)
			}
			if now := w.status().Phase; now != phase.Idle {
				t.Errorf("the phase is %s", now)
			}
			w.preserve(a, 1) // luod goes on
		})
	}
}

func TestDiscardAllLeavesAnUpdateAlone(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 1)
	w.c.Rec.Phase = phase.Preparing
	_, err := w.c.DiscardAll(ctx)
	w.expectFault(err, "Busy")
	_, err = w.c.Stakes(ctx)
	w.expectFault(err, "Busy")
	w.c.Rec.Phase = phase.Idle
	if s := w.staked(); len(s) != 1 {
		t.Errorf("%+v", s)
	}
}

// Sessions of which nobody knows anything are kept open, in the fd store too.
func TestDiscardAllGivesUpWhatWasOnlyKeptOpen(t *testing.T) {
	w := newWorld(t)
	w.session(a, "own", "x")
	w.c.Rec.Sessions, w.c.Rec.Generation = nil, 1
	if _, err := w.c.Rec.Write(w.c.Path(), nil); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	s, err := w.c.DiscardAll(ctx)
	if err != nil || s.Stuck != 1 || len(s.Units) != 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	w.nothingLeft()
}

// What can't be read is at stake as well, though nobody knows whose it is.
func TestDiscardAllGivesUpWhatCouldNotBeRead(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 1)
	w.update()
	w.booted = func() { w.kernel.FailNext(luofake.RetrieveFD, unix.ENOMEM) }
	w.reboot()
	s, err := w.c.Stakes(ctx)
	if err != nil || s.Unread == "" {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err := w.c.DiscardAll(ctx); err != nil {
		t.Fatal(err)
	}
	if s := w.staked(); len(s) != 0 {
		t.Errorf("%+v", s)
	}
	if entries := w.store.Names(); len(entries) != 0 {
		t.Fatalf("still in the fd store: %v", entries)
	}
	w.look(a, 0) // it starts without
}

func TestDiscardAllSaysWhatItCanNotGiveUp(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.update()
	w.rebootWhileTheDeviceIsBusy(1, func() {
		s, err := w.c.Stakes(ctx)
		if err != nil || !strings.Contains(s.Unread, "another process has the device open") {
			t.Fatalf("%+v, %v", s, err)
		}
		_, err = w.c.DiscardAll(ctx)
		w.expectFault(err, "NotRestored")
	})
	w.fetch(a, 2)
}

func TestOnlyLuodsKernelIsUnloaded(t *testing.T) {
	w := newWorld(t)
	unload := func(want string, loaded bool) {
		t.Helper()
		release, err := w.c.UnloadOwn(ctx)
		if is, _ := w.Loaded(); err != nil || release != want || is != loaded {
			t.Fatalf("unloaded %q, %v; loaded: %t", release, err, is)
		}
	}
	unload("", false)
	w.load()
	unload("7.3.4", false)
	if w.status().Loaded != nil {
		t.Error("the status still names it")
	}
	w.load()
	w.loadForeign(true)
	unload("", true)
	if w.status().Loaded != nil {
		t.Error("the status still names one that is no longer loaded")
	}
}
