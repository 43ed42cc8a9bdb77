package coordinator

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// rebootWhileTheDeviceIsBusy is a reboot after which somebody else is quicker to open
// the device, and closes it after meanwhile has run.
func (w *world) rebootWhileTheDeviceIsBusy(generation uint64, meanwhile func()) {
	w.t.Helper()
	var other *luo.Device
	w.booted = func() {
		var err error
		if other, err = w.kernel.LUO().Open(ctx); err != nil {
			w.t.Fatal(err)
		}
	}
	w.line = fmt.Sprint("root=/dev/vda luod.generation=", generation)
	w.reboot()
	w.booted, w.line = nil, ""
	if s := w.status(); s.Phase != phase.Idle || !strings.Contains(s.Degraded, "another process has the device open") || !strings.Contains(s.Degraded, "tries again") {
		w.t.Fatalf("%+v", s)
	}
	w.line = fmt.Sprint("root=/dev/vda luod.generation=", generation)
	meanwhile()
	w.line = ""
	other.Close()
	if !soon(func() bool { w.clock.advance(holdings.MaxRereadPause); return w.status().Degraded == "" }) {
		w.t.Fatalf("%+v", w.status())
	}
}

// Somebody else may have the device open when luod comes up after an update. No unit
// is told meanwhile that it has nothing, and then all is there, also if luod was
// killed in between.
func TestABusyDeviceIsWaitedForAfterAnUpdate(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world){
		"for a while": func(w *world) { w.clock.advance(holdings.MaxRereadPause); w.clock.advance(holdings.MaxRereadPause) },
		"killed":      func(w *world) { w.kill(); w.start() },
	} {
		t.Run(name, func(t *testing.T) {
			w, f := newWorld(t), memfd(t, "x")
			defer f.Close()
			w.preserve(a, 3)
			w.preserve(b, 2)
			w.update()
			w.rebootWhileTheDeviceIsBusy(1, func() {
				for range 2 {
					for _, unit := range []string{a, b} {
						_, err := w.c.Retrieve(ctx, unit, nil)
						w.expectFault(err, "NotRestored")
						_, err = w.c.RetrieveSession(ctx, unit, "s")
						w.expectFault(err, "NotRestored")
						_, err = w.c.CreateSession(ctx, unit, "s")
						w.expectFault(err, "NotRestored")
						_, err = w.c.Own(ctx, unit)
						w.expectFault(err, "NotRestored")
						w.expectFault(w.c.Fetched(ctx, unit, []string{"fd-0"}), "NotRestored")
						w.expectFault(w.c.Preserve(ctx, unit, []string{"fd-0"}, []*os.File{f}), "NotRestored")
					}
					w.load()
					_, err := w.c.LiveUpdate(ctx, record.Options{})
					w.expectFault(err, "Degraded")
					w.expectFault(w.c.Discard(ctx, a, []string{"fd-0"}), "NoSuchName")
					meanwhile(w)
				}
				if w.status().Degraded == "" {
					t.Fatal("it has restored what it can't have")
				}
				if err := w.c.Discard(ctx, b, nil); err != nil {
					t.Fatal(err)
				}
				w.look(b, 0) // on an administrator's word
			})
			w.expect(phase.Restoring, 1, a, b)
			w.look(b, 2) // and there it is
			w.fetch(a, 3)
			w.fetch(b, 2)
			w.expect(phase.Idle, 1)
			w.settleHistory(1)
			w.update()
			w.reboot()
			w.fetch(a, 3)
			w.fetch(b, 2)
			w.expect(phase.Idle, 2)
		})
	}
}

// A boot that is no live update goes on as if nobody had the device open; only an
// update has to wait until luod has seen that nothing would be lost.
func TestABusyDeviceDoesNotDisturbAnOrdinaryBoot(t *testing.T) {
	w := newWorld(t)
	other, err := w.kernel.LUO().Open(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.record += "2"
	w.start()
	w.expect(phase.Idle, 0)
	w.preserve(a, 2)
	w.fetch(a, 2)
	w.load()
	_, err = w.c.LiveUpdate(ctx, record.Options{})
	w.expectFault(err, "NotRestored")
	other.Close()
	if !soon(func() bool {
		w.clock.advance(holdings.MaxRereadPause)
		_, err = w.c.LiveUpdate(ctx, record.Options{})
		return err == nil
	}) {
		t.Fatal(err)
	}
	w.reboot()
	w.fetch(a, 2)
	w.expect(phase.Idle, 1)
}

// What one luod can't read the next may, and it is then as if it had at once.
func TestWhatCouldNotBeReadIsReadByTheNextLuod(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.update()
	w.booted = func() { w.kernel.FailNext(luofake.RetrieveFD, unix.ENOMEM) }
	w.reboot()
	if s := w.status(); s.Generation != 0 || !strings.Contains(s.Degraded, "luod that can read it") {
		t.Fatalf("%+v", s)
	}
	_, err := w.c.Retrieve(ctx, a, nil)
	w.expectFault(err, "Degraded")
	w.kill()
	w.start()
	s := w.expect(phase.Restoring, 1, a)
	if len(s.TimeLine) == 0 {
		t.Errorf("%+v", s)
	}
	w.fetch(a, 3)
	w.expect(phase.Idle, 1)
	w.settleHistory(1)
}

// Killed when everything is in the fd store, and before the record told of it.
func TestALuodKilledWhenItHadRestoredAtLastLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.session(a, "vm", "state")
	w.update()
	w.reboot()
	w.c.Rec = record.Record{Phase: phase.Idle, Degraded: "not restored yet"}
	if _, err := w.c.Rec.Write(w.c.Path(), nil); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	w.expect(phase.Restoring, 1, a)
	w.fetch(a, 2)
	w.emptied(a, "vm", "state")
	w.expect(phase.Idle, 1)
}

// What the kernel has lost is no reason not to start anybody.
func TestWhatCanNeverBeReadKeepsNobodyFromStarting(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.update()
	w.booted = func() { w.kernel.FailNextOpen(unix.EIO) }
	w.reboot()
	if s := w.status(); !strings.Contains(s.Degraded, "can't be in this boot") {
		t.Fatalf("%+v", s)
	}
	w.look(a, 0)
	w.load()
	var f *fault.Fault
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); !errors.As(err, &f) || f.Name != "Degraded" {
		t.Fatal(err)
	}
}

// Who asked in vain and has failed of it is started when its memory is there after all;
// nobody else is.
func TestWhoFailedWaitingIsStartedAtLast(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.preserve(b, 1)
	w.preserve(d, 1)
	w.update()
	w.rebootWhileTheDeviceIsBusy(1, func() {
		for _, unit := range []string{a, b, "stranger.service"} {
			_, err := w.c.Retrieve(ctx, unit, nil)
			w.expectFault(err, "NotRestored")
		}
		w.running[a] = pid1.Running{State: "failed"}
		w.running[d] = pid1.Running{State: "failed"} // of something else
		w.running["stranger.service"] = pid1.Running{State: "failed"}
		w.active = nil
		w.kill() // the next luod knows
		w.start()
	})
	if !soon(func() bool { w.mu.Lock(); defer w.mu.Unlock(); return slices.Equal(w.active, []string{a}) }) {
		t.Errorf("started: %q", w.active)
	}
}
