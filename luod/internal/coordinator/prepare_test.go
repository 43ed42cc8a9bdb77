package coordinator

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// soon says whether it is true before 30 s are over, which only what hangs takes.
func soon(is func() bool) bool {
	wait := 50 * time.Microsecond
	for end := time.Now().Add(30 * time.Second); !is(); wait = min(2*wait, time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
		runtime.Gosched()
		time.Sleep(wait)
	}
	return true
}

// until waits for a phase in which nothing moves by itself.
func (w *world) until(want phase.Phase) Status {
	w.t.Helper()
	if !soon(func() bool { return w.still() && w.status().Phase == want }) {
		w.t.Fatalf("the phase %s does not come: %+v", want, w.status())
	}
	return w.status()
}

// still says that no update is moving on its own.
func (w *world) still() bool {
	still, err := locked(ctx, w.c, func() (bool, error) {
		u := w.c.update
		return u == nil || w.c.Rec.Phase == phase.Committed && over(u) || w.c.Rec.Phase == phase.Preparing && !u.decided && u.ctx.Err() == nil, nil
	})
	return still || err != nil
}

// over says that the jump was begun, or not.
func over(u *update) bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// settle waits until nothing moves by itself.
func (w *world) settle() {
	if !soon(w.still) {
		w.t.Fatal("it does not settle")
	}
}

func (w *world) register(unit string, r record.Registration) {
	w.t.Helper()
	if err := w.c.Register(ctx, unit, r); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ready(unit string) {
	w.t.Helper()
	if err := w.c.Ready(ctx, unit); err != nil {
		w.t.Fatal(err)
	}
}

// begin starts an update and waits until services are asked.
func (w *world) begin() {
	w.t.Helper()
	if !w.loaded || w.status().Loaded == nil {
		w.load()
	}
	if _, err := w.c.LiveUpdate(ctx, record.Options{NoBlock: true}); err != nil {
		w.t.Fatal(err)
	}
	w.until(phase.Preparing)
}

// told returns and forgets what was announced, in short.
func (w *world) told() []string {
	w.t.Helper()
	list, err := locked(ctx, w.c, func() ([]string, error) {
		var list []string
		for _, s := range w.signals {
			what := "cancelled"
			if s.Start {
				what = fmt.Sprintf("prepare by %d", s.Deadline.Sub(w.clock.Now())/time.Second)
			}
			list = append(list, strings.TrimSpace(s.Unit+" "+what))
		}
		w.signals = nil
		return list, nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

func (w *world) expectTold(want ...string) {
	w.t.Helper()
	if got := w.told(); !slices.Equal(got, want) {
		w.t.Fatalf("told %q, want %q", got, want)
	}
}

func (w *world) expectFault(err error, name string) {
	w.t.Helper()
	var f *fault.Fault
	if !errors.As(err, &f) || f.Name != name {
		w.t.Fatalf("got %v, want %s", err, name)
	}
}

// asBefore checks that nothing of an update is left.
func (w *world) asBefore(lastError string, units ...string) {
	w.t.Helper()
	s := w.until(phase.Idle)
	if !strings.Contains(s.LastError, lastError) || s.LastError == "" || len(s.Services) != 0 {
		w.t.Fatalf("%+v, want the last error %q", s, lastError)
	}
	if out := w.kernel.Outgoing(); len(out) != 0 {
		w.t.Fatalf("still preserved: %v", out)
	}
	for _, unit := range units {
		w.look(unit, 2)
		// It may be changed and handed over as before.
		f := memfd(w.t, "more")
		if err := w.c.Preserve(ctx, unit, []string{"more"}, []*os.File{f}); err != nil {
			w.t.Fatal(err)
		}
		if err := w.c.Release(ctx, unit, []string{"more"}); err != nil {
			w.t.Fatal(err)
		}
	}
}

const a, b, d = "a.service", "b.service", "d.service"

func TestNobodyMovesUntilAllAreReady(t *testing.T) {
	w := newWorld(t)
	for _, unit := range []string{a, b, d} {
		w.preserve(unit, 2)
	}
	w.register(b, record.Registration{After: []string{a}, Timeout: 10 * time.Second})
	w.register(a, record.Registration{Timeout: 20 * time.Second})
	w.expectFault(w.c.Ready(ctx, a), "NotPreparing")
	w.begin()
	w.expectTold("prepare by 300", "a.service prepare by 20")
	w.expectFault(w.c.Ready(ctx, b), "NotYet")
	w.expectFault(w.c.Ready(ctx, d), "NotPreparing")
	_, err := w.c.LiveUpdate(ctx, record.Options{})
	w.expectFault(err, "Busy")
	// What it had not handed over yet.
	f := memfd(t, a+"/fd-2")
	if err := w.c.Preserve(ctx, a, []string{"fd-2"}, []*os.File{f}); err != nil {
		t.Fatal(err)
	}
	w.ready(a)
	w.ready(a)
	w.expectTold("b.service prepare by 10")
	if out := w.kernel.Outgoing(); len(out) != 0 {
		t.Fatalf("preserved before all were ready: %v", out)
	}
	if s := w.status().Services; len(s) != 2 || s[0].State != barrier.Ready || s[1].State != barrier.Preparing {
		t.Fatalf("%+v", s)
	}
	w.ready(b)
	w.until(phase.Committed)
	w.expectTold()
	w.reboot()
	w.fetch(a, 3)
	w.fetch(b, 2)
	w.fetch(d, 2)
	w.expect(phase.Idle, 1)
	// The next kernel's services have to register themselves.
	w.update()
}

func TestWhatKeepsAnUpdateFromHappening(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		why   string
	}{
		"a veto":            {func(w *world) { _ = w.c.Fail(ctx, b, "it is noon") }, "b.service: it says: it is noon"},
		"a veto at the end": {func(w *world) { w.ready(a); _ = w.c.Fail(ctx, a, "no") }, "a.service: it says: no"},
		"one hangs":         {func(w *world) { w.ready(a); w.clock.advance(31 * time.Second) }, "b.service: it did not say Ready within 30s"},
		"one dies":          {func(w *world) { w.running[b] = pid1.Running{State: "failed"}; w.clock.advance(time.Second) }, "b.service: it stopped (failed)"},
		"one is started anew after Ready": {func(w *world) {
			w.ready(a)
			w.running[a] = pid1.Running{State: "active", InvocationID: "2"}
			w.clock.advance(time.Second)
		}, "a.service: it was started anew"},
		"one unregisters": {func(w *world) { _ = w.c.Unregister(ctx, a) }, "a.service: it unregistered"},
		"a cancellation":  {func(w *world) { _ = w.c.Cancel(ctx, "by me") }, "cancelled: by me"},
		"one dies when all were ready": {func(w *world) {
			w.ready(a)
			w.died(a) // before the next look
			w.ready(b)
		}, "a.service: it stopped (failed)"},
		"one is started anew when all were ready": {func(w *world) {
			w.ready(b)
			w.again(b)
			w.ready(a)
		}, "b.service: it was started anew"},
		"packing fails": {func(w *world) {
			w.kernel.FailNext(luofake.PreserveFD, unix.ENOMEM)
			w.ready(a)
			w.ready(b)
		}, "preserve"},
		"the jump fails": {func(w *world) {
			w.jumpErr = errors.New("PID 1 says no")
			w.ready(a)
			w.ready(b)
		}, "PID 1 says no"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, unit := range []string{a, b, d} {
				w.preserve(unit, 2)
			}
			for _, unit := range []string{a, b} {
				w.register(unit, record.Registration{Timeout: 30 * time.Second})
			}
			w.begin()
			w.told()
			c.spoil(w)
			w.asBefore(c.why, a, b, d)
			if got := w.told(); !slices.Equal(got, []string{"a.service cancelled", "b.service cancelled", "cancelled"}) {
				t.Fatalf("told %q", got)
			}
			w.expectFault(w.c.Cancel(ctx, "again"), "NothingToCancel")
			// And the next one works.
			w.jumpErr, w.running = nil, map[string]pid1.Running{}
			w.register(a, record.Registration{})
			w.begin()
			w.ready(a)
			w.ready(b)
			w.until(phase.Committed)
			w.expectFault(w.c.Cancel(ctx, "late"), "TooLate")
			w.reboot()
			for _, unit := range []string{a, b, d} {
				w.fetch(unit, 2)
			}
			w.expect(phase.Idle, 1)
		})
	}
}

func (w *world) died(unit string) { w.running[unit] = pid1.Running{State: "failed"} }
func (w *world) again(unit string) {
	w.running[unit] = pid1.Running{State: "active", InvocationID: "2"}
}

func TestTheOptionalIsLeftBehindAndReported(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.preserve(b, 2)
	w.register(a, record.Registration{})
	w.register(b, record.Registration{Optional: true, Timeout: time.Second})
	w.begin()
	w.ready(a)
	w.clock.advance(2 * time.Second)
	w.until(phase.Committed)
	w.reboot()
	s := w.expect(phase.Restoring, 1, a)
	if len(s.LeftBehind) != 1 || s.LeftBehind[0].Unit != b || !strings.Contains(s.LeftBehind[0].Reason, "within 1s") {
		t.Fatalf("%+v", s.LeftBehind)
	}
	w.fetch(a, 2)
	w.look(b, 0)
}

func TestARestartedServiceIsAskedAgain(t *testing.T) {
	w := newWorld(t)
	w.register(a, record.Registration{})
	w.begin()
	w.told()
	w.running[a] = pid1.Running{State: "active", InvocationID: "2"}
	w.clock.advance(600 * time.Millisecond)
	w.expectTold("a.service prepare by 89")
	w.register(a, record.Registration{Timeout: time.Minute}) // its deadline stays
	w.expectTold("a.service prepare by 89")
	if err := w.c.Remind(ctx); err != nil {
		t.Fatal(err)
	}
	w.expectTold("a.service prepare by 89")
	w.ready(a)
	w.until(phase.Committed)
}

func TestWhoStoppedTakesNoPart(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.register(a, record.Registration{})
	w.running[a] = pid1.Running{State: "inactive"}
	w.update()
	w.reboot()
	w.fetch(a, 2) // what it had handed over goes along all the same
}

func TestACircleIsRefusedBeforeAnybodyIsAsked(t *testing.T) {
	w := newWorld(t)
	w.register(a, record.Registration{After: []string{b}})
	w.register(b, record.Registration{After: []string{a}})
	w.load()
	for _, dry := range []bool{true, false} {
		_, err := w.c.LiveUpdate(ctx, record.Options{DryRun: dry})
		w.expectFault(err, "BadOrder")
	}
	w.until(phase.Idle)
	w.expectTold()
}

func TestABadRegistrationChangesNothing(t *testing.T) {
	w := newWorld(t)
	for name, r := range map[string]record.Registration{
		"negative":  {Timeout: -1},
		"too long":  {Timeout: time.Hour},
		"itself":    {After: []string{a}},
		"no unit":   {Before: []string{"../x"}},
		"no suffix": {Before: []string{"x"}},
		"too many":  {After: make([]string, 300)},
	} {
		t.Run(name, func(t *testing.T) { w.expectFault(w.c.Register(ctx, a, r), "BadRequest") })
	}
	w.expectFault(w.c.Unregister(ctx, a), "NotRegistered")
	w.update()
}

// Every transition there is, and luod killed right before and right after it is
// written down.
func TestAKillAtEveryTransitionLosesNothing(t *testing.T) {
	ready := func(w *world) { w.ready(a) }
	fail := func(w *world) { _ = w.c.Fail(ctx, a, "no") }
	for _, tr := range phase.Transitions {
		for _, written := range []bool{false, true} {
			if tr.On == phase.Jumped {
				continue // that is the kernel's; nobody is left to be killed
			}
			t.Run(fmt.Sprintf("%s on %s, written %t", tr.From, tr.On, written), func(t *testing.T) {
				w := newWorld(t)
				w.preserve(a, 2)
				w.preserve(b, 2)
				generation := uint64(0)
				if tr.From == phase.Restoring || tr.On == phase.Resumed {
					w.update()
					w.reboot()
					generation++
				}
				w.register(a, record.Registration{})
				w.load()
				w.hooks = true
				w.active = []string{a, b, d}
				fast := tr.From == phase.Stopping || tr.On == phase.PackedFast
				if tr.From == phase.Stopping && tr.On == phase.TakenBack {
					w.stopErr = errors.New("it does not stop")
				}
				_, _ = locked(ctx, w.c, func() (any, error) {
					w.c.Step = func(from phase.Phase, on phase.Event, now bool) {
						if from == tr.From && on == tr.On && now == written {
							die(w.c)
						}
					}
					return nil, nil
				})
				dead := w.c.Closed()
				switch {
				case tr.On == phase.Complete:
					for _, unit := range []string{a, b} {
						aside(func() { _ = w.c.Fetched(ctx, unit, []string{"fd-0", "fd-1"}) })
					}
				default:
					if tr.From == phase.Checking && (tr.On == phase.TakenBack || tr.On == phase.Resumed) {
						w.answer = loading.Answer{Kind: loading.CheckFailed, Error: "no", Report: &verdict.Report{}}
					}
					if tr.From == phase.Packing && tr.On == phase.TakenBack {
						w.kernel.FailNext(luofake.PreserveFD, unix.ENOMEM)
					}
					aside(func() { _, _ = w.c.LiveUpdate(ctx, record.Options{NoBlock: true, Fast: fast}) })
					if tr.From == phase.Stopping || tr.From == phase.Preparing || tr.From == phase.Packing || tr.From == phase.Committed {
						w.settle()
						if tr.From == phase.Preparing && tr.On != phase.Prepared {
							aside(func() { fail(w) })
						} else {
							aside(func() { ready(w) })
						}
					}
					if tr.From == phase.Committed {
						w.until(phase.Committed)
						w.results <- errors.New("canceled")
					}
				}
				select {
				case <-dead:
				case <-time.After(10 * time.Second):
					t.Fatal("luod was not killed there: the test proves nothing")
				}
				w.c.dropLocked()
				w.answer, w.stopErr = loading.Answer{}, nil
				w.start()
				w.runsAgain(a, b, d)
				s := w.status()
				if s.Phase != phase.Idle && s.Phase != phase.Restoring || s.Generation != generation || len(s.Lost) != 0 || s.Degraded != "" {
					t.Fatalf("after the restart: %+v", s)
				}
				// It says so, unless nothing was begun or all was over.
				if begun := tr.On != phase.Complete && !(tr.On == phase.Triggered && !written); begun && s.LastError == "" {
					t.Errorf("nothing is said about the update that was taken back")
				}
				if out := w.kernel.Outgoing(); len(out) != 0 {
					t.Fatalf("still preserved: %v", out)
				}
				w.look(a, 2)
				w.look(b, 2)
				w.toldBack()
				// The registration outlives luod, and the next update works.
				w.begin()
				w.ready(a)
				w.until(phase.Committed)
				w.reboot()
				w.fetch(a, 2)
				w.fetch(b, 2)
				w.expect(phase.Idle, generation+1)
				if in := w.kernel.Incoming(); len(in) != 0 {
					t.Fatalf("still open: %v", in)
				}
			})
		}
	}
}

// A registration is of one start of its unit: the next one, which has not registered, is
// not waited for.
func TestARegistrationEndsWithTheUnitsStart(t *testing.T) {
	w := newWorld(t)
	w.running[a] = pid1.Running{State: "active", InvocationID: "1"}
	w.register(a, record.Registration{})
	w.register(b, record.Registration{})
	w.running[a] = pid1.Running{State: "active", InvocationID: "2"}
	w.begin()
	if s := w.status().Services; len(s) != 1 || s[0].Unit != b {
		t.Fatalf("asked are %+v", s)
	}
	w.ready(b)
	w.until(phase.Committed)
	w.results <- errTest
	w.until(phase.Idle)
	// Its new start registers for itself.
	w.register(a, record.Registration{})
	w.begin()
	if s := w.status().Services; len(s) != 2 {
		t.Fatalf("asked are %+v", s)
	}
}
