package coordinator

import (
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/record"
)

func (w *world) plan(d time.Duration) {
	w.t.Helper()
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{When: w.clock.Now().Add(d), Override: []string{"memory"}}); err != nil {
		w.t.Fatal(err)
	}
	if s := w.expect(phase.Idle, 0); s.Scheduled.IsZero() {
		w.t.Fatal("nothing is scheduled")
	}
}

func TestAScheduledUpdateBeginsAtItsTime(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.plan(time.Hour)
	w.clock.advance(59 * time.Minute)
	w.expect(phase.Idle, 0)
	w.kill()
	w.start()
	w.clock.advance(59 * time.Second)
	w.expect(phase.Idle, 0)
	w.clock.advance(2 * time.Second)
	if s := w.until(phase.Committed); !s.Scheduled.IsZero() {
		t.Error("it is still scheduled")
	}
	if last := w.asked[len(w.asked)-1]; len(last.Override) != 1 {
		t.Errorf("its options were lost: %+v", last)
	}
	w.reboot()
	w.fetch(a, 2)
}

func TestAScheduleFollowsTheWallClock(t *testing.T) {
	w := newWorld(t)
	w.plan(time.Hour)
	// The clock is set forward, without the time passing.
	w.clock.set(w.clock.Now().Add(time.Hour))
	w.clock.advance(scheduleInterval)
	w.until(phase.Committed)
}

func TestAMissedScheduleIsDropped(t *testing.T) {
	w := newWorld(t)
	w.plan(time.Hour)
	w.kill()
	w.clock.set(w.clock.Now().Add(3 * time.Hour))
	w.start()
	w.clock.advance(time.Second)
	if s := w.until(phase.Idle); !strings.Contains(s.LastError, "was missed") || !s.Scheduled.IsZero() {
		t.Fatalf("%+v", s)
	}
	w.clock.advance(time.Hour)
	w.until(phase.Idle)
}

func TestAScheduleCanBeCancelledAndReplaced(t *testing.T) {
	w := newWorld(t)
	w.plan(time.Hour)
	w.plan(2 * time.Hour)
	w.clock.advance(61 * time.Minute)
	w.expect(phase.Idle, 0)
	if err := w.c.Cancel(ctx, "no"); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Hour)
	if s := w.expect(phase.Idle, 0); !s.Scheduled.IsZero() {
		t.Fatalf("%+v", s)
	}
	w.expectFault(w.c.Cancel(ctx, "no"), "NothingToCancel")
}

func TestWhatCantBeDoneIsNotScheduled(t *testing.T) {
	w := newWorld(t)
	_, err := w.c.LiveUpdate(ctx, record.Options{When: w.clock.Now().Add(time.Hour)})
	w.expectFault(err, "NoKernelLoaded")
	w.load()
	_, err = w.c.LiveUpdate(ctx, record.Options{When: w.clock.Now()})
	w.expectFault(err, "BadRequest")
	w.clock.advance(2 * time.Hour)
	w.expect(phase.Idle, 0)
}

func TestAScheduledUpdateThatCantBeginSaysSo(t *testing.T) {
	w := newWorld(t)
	w.plan(time.Hour)
	w.lock(inhibitors.Inhibitor{What: inhibitors.LiveUpdate, Mode: inhibitors.Block, Who: "apt", Why: "upgrade"})
	w.clock.advance(time.Hour)
	if s := w.until(phase.Idle); !strings.Contains(s.LastError, "inhibited by apt") {
		t.Fatalf("%+v", s)
	}
}

// An update that luod was killed in the very moment of does not vanish unsaid.
func TestAKilledScheduleSaysSo(t *testing.T) {
	w := newWorld(t)
	w.plan(time.Hour)
	_, _ = locked(ctx, w.c, func() (any, error) {
		w.c.Step = func(_ phase.Phase, on phase.Event, written bool) {
			if on == phase.Triggered && !written {
				die(w.c)
			}
		}
		return nil, nil
	})
	aside(func() { w.clock.advance(time.Hour) })
	w.c.dropLocked()
	w.start()
	if s := w.expect(phase.Idle, 0); !strings.Contains(s.LastError, "did not begin: luod was interrupted") || !s.Scheduled.IsZero() {
		t.Fatalf("%+v", s)
	}
}
