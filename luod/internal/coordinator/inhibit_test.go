package coordinator

import (
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/record"
)

func (w *world) inhibitors() ([]inhibitors.Inhibitor, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.locks, nil
}

func (w *world) lock(list ...inhibitors.Inhibitor) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.locks = list
}

var (
	block  = inhibitors.Inhibitor{What: inhibitors.LiveUpdate, Mode: inhibitors.Block, Who: "apt", Why: "upgrade"}
	logind = inhibitors.Inhibitor{What: "shutdown:sleep", Mode: inhibitors.Block, Who: "apt", Why: "upgrade"}
	delay  = inhibitors.Inhibitor{What: inhibitors.LiveUpdate, Mode: inhibitors.Delay, Who: "editor", Why: "save"}
)

func TestABlockRefuses(t *testing.T) {
	for _, lock := range []inhibitors.Inhibitor{block, logind} {
		w := newWorld(t)
		w.preserve(a, 2)
		w.load()
		w.lock(lock)
		for _, dry := range []bool{true, false} {
			_, err := w.c.LiveUpdate(ctx, record.Options{DryRun: dry})
			w.expectFault(err, "Inhibited")
		}
		w.expect(phase.Idle, 0)
		if _, err := w.c.LiveUpdate(ctx, record.Options{IgnoreInhibitors: true}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestABlockThatComesLateCountsToo(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.register(a, record.Registration{})
	w.begin()
	w.lock(block)
	w.ready(a)
	w.asBefore("inhibited by apt", a)
}

// preparing begins an update that a delay holds up.
func (w *world) preparing() {
	w.t.Helper()
	w.preserve(a, 2)
	w.lock(delay)
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{NoBlock: true}); err != nil {
		w.t.Fatal(err)
	}
	for w.status().Phase != phase.Preparing {
		time.Sleep(time.Millisecond)
	}
}

func TestADelayDelays(t *testing.T) {
	for name, end := range map[string]func(w *world){
		"until it is gone": func(w *world) { w.lock() },
		"at most 5 s":      func(w *world) { w.clock.advance(5 * time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preparing()
			for range 20 {
				w.clock.advance(4 * time.Second / 20)
				time.Sleep(time.Millisecond)
				if s := w.status(); s.Phase != phase.Preparing {
					t.Fatalf("%+v", s)
				}
			}
			end(w)
			for w.status().Phase != phase.Committed {
				w.clock.advance(delayInterval) // whenever it looks again
				time.Sleep(time.Millisecond)
			}
			w.until(phase.Committed)
			w.reboot()
			w.fetch(a, 2)
		})
	}
	t.Run("until it is cancelled", func(t *testing.T) {
		w := newWorld(t)
		w.preparing()
		if err := w.c.Cancel(ctx, "by me"); err != nil {
			t.Fatal(err)
		}
		w.asBefore("by me", a)
	})
}
