package coordinator

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// runsAgain waits until everything runs that was stopped.
func (w *world) runsAgain(units ...string) {
	w.t.Helper()
	if !soon(func() bool {
		w.mu.Lock()
		active := slices.Clone(w.active)
		w.mu.Unlock()
		owing, err := locked(ctx, w.c, func() (bool, error) { return len(w.c.Rec.Stopped) > 0, nil })
		return err == nil && !owing && !slices.ContainsFunc(units, func(u string) bool { return !slices.Contains(active, u) })
	}) {
		w.t.Fatalf("only %q run", w.active)
	}
}

// toldBack waits until hooks were told of the end of an update of which they
// were told.
func (w *world) toldBack() {
	w.t.Helper()
	if !soon(func() bool {
		owing, err := locked(ctx, w.c, func() (bool, error) { return len(w.c.Rec.Owed) > 0 || w.c.Rec.Hooked, nil })
		w.mu.Lock()
		prepared := slices.ContainsFunc(w.ran, func(r string) bool { return strings.HasPrefix(r, "prepare") })
		cancelled := slices.ContainsFunc(w.ran, func(r string) bool { return strings.HasPrefix(r, "cancel") })
		w.mu.Unlock()
		return err == nil && !owing && (cancelled || !prepared)
	}) {
		w.t.Fatalf("hooks were told %q", w.ran)
	}
}

func TestAFastJumpStopsOnlyWhoTakesPart(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.register(b, record.Registration{})
	w.active = []string{a, b, d, "x.socket"}
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{NoBlock: true, Fast: true}); err != nil {
		t.Fatal(err)
	}
	w.until(phase.Preparing)
	if len(w.halted) > 0 {
		t.Fatalf("%q were stopped before all were ready", w.halted)
	}
	w.ready(b)
	w.until(phase.Committed)
	if w.way != pid1.Fast || !slices.Equal(w.halted, []string{a, b}) {
		t.Fatalf("%s, stopped %q", w.way, w.halted)
	}
	w.reboot()
	w.fetch(a, 2)
	w.expect(phase.Idle, 1)
}

func TestAFastJumpThatFailsIsTakenBack(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		late  bool
	}{
		"who has to stop doesn't":  {func(w *world) { w.stopErr = errors.New("it hangs") }, false},
		"the jump can't be begun":  {func(w *world) { w.jumpErr = errors.New("no such unit") }, false},
		"a freeze fails":           {func(w *world) { w.results <- errors.New("freeze /: EIO") }, true},
		"luod was killed meantime": {func(w *world) { w.kill(); w.start() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preserve(a, 2)
			w.active = []string{a, d}
			w.load()
			if !c.late {
				c.spoil(w)
			}
			if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: true}); (err == nil) != c.late {
				t.Fatal(err)
			}
			if c.late {
				c.spoil(w)
			}
			w.runsAgain(a, d)
			w.stopErr, w.jumpErr = nil, nil
			w.asBefore("", a)
			w.update()
		})
	}
}

// A luod that was killed after the commit still notices that the jump was given
// up.
func TestAJumpThatIsGivenUpAfterARestartIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.update()
	w.jumping = true
	w.kill()
	w.start()
	w.clock.advance(time.Minute)
	if s := w.status(); s.Phase != phase.Committed {
		t.Fatalf("it was taken back though the jump is near: %+v", s)
	}
	w.jumping = false
	w.clock.advance(2 * time.Second)
	if s := w.status(); s.Phase != phase.Committed {
		t.Fatal("it was taken back at once")
	}
	w.clock.advance(2 * time.Second)
	w.asBefore("did not happen", a)
}

// PID 1 hangs up when it is executed anew, and when it ends: whether the jump is still to
// come it is asked again.
func TestAPID1ThatHangsUpIsAskedAgain(t *testing.T) {
	for _, fast := range []bool{false, true} {
		w := newWorld(t)
		w.preserve(a, 2)
		w.load()
		if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: fast}); err != nil {
			t.Fatal(err)
		}
		w.jumping = true
		began := w.clock.Now()
		w.results <- fmt.Errorf("%w: EOF", pid1.ErrHungUp)
		if !soon(func() bool { w.clock.advance(time.Second); return w.clock.Now().Sub(began) > time.Minute }) {
			t.Fatal("time stands still")
		}
		if s := w.status(); s.Phase != phase.Committed || len(w.kernel.Outgoing()) == 0 {
			t.Fatalf("it was taken back though the jump is near: %+v", s)
		}
		w.jumping = false
		if !soon(func() bool { w.clock.advance(time.Second); return w.status().Phase == phase.Idle }) {
			t.Fatal("it is committed for ever")
		}
		w.runsAgain()
		w.asBefore("did not happen", a)
	}
}
