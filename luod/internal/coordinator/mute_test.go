package coordinator

import (
	"os"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/record"
)

// In every phase, whoever asks for the status or cancels is answered at once, though PID 1
// does not say whether it has taken what a service hands over, or what is packed.
func TestAPID1ThatIsMuteHoldsNobodyUp(t *testing.T) {
	for where, reach := range map[phase.Phase]func(w *world){
		phase.Idle: func(w *world) { w.store.Mute(true) },
		phase.Checking: func(w *world) {
			w.load()
			hangs := make(chan struct{})
			w.t.Cleanup(func() { close(hangs) })
			w.asking = func() { <-hangs }
			w.store.Mute(true)
			w.trigger(record.Options{})
		},
		phase.Preparing: func(w *world) {
			w.register(a, record.Registration{})
			w.begin()
			w.store.Mute(true)
		},
		phase.Packing: func(w *world) {
			w.load()
			w.store.Mute(true)
			w.trigger(record.Options{})
		},
		phase.Stopping: func(w *world) {
			w.load()
			hangs := make(chan struct{})
			w.t.Cleanup(func() { close(hangs) })
			w.active, w.stopped = []string{a}, func() { w.mu.Unlock(); <-hangs; w.mu.Lock() }
			w.trigger(record.Options{Fast: true})
			w.reaches(phase.Stopping)
			w.store.Mute(true)
		},
		phase.Committed: func(w *world) {
			w.update()
			w.store.Mute(true)
		},
		phase.Restoring: func(w *world) {
			w.update()
			w.reboot()
			w.store.Mute(true)
		},
	} {
		t.Run(string(where), func(t *testing.T) {
			w := newWorld(t)
			w.preserve(a, 2)
			reach(w)
			w.reaches(where)
			handedOver := make(chan struct{})
			f := memfd(t, "more")
			go func() {
				defer close(handedOver)
				if w.c.Preserve(ctx, b, []string{"more"}, []*os.File{f}) != nil {
					f.Close()
				}
			}()
			for range 20 { // also while it hands over
				w.promptly("the status", func() { _, _ = w.c.Status(ctx) })
				time.Sleep(time.Millisecond)
			}
			w.promptly("a cancellation", func() { _ = w.c.Cancel(ctx, "it takes too long") })
			w.promptly("the status afterwards", func() { _, _ = w.c.Status(ctx) })
			w.store.Mute(false)
			<-handedOver
		})
	}
}

// promptly fails if what takes longer than an answer may.
func (w *world) promptly(what string, do func()) {
	w.t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(100 * time.Millisecond):
		w.t.Fatalf("%s takes longer than 100 ms", what)
	}
}

// trigger begins an update and waits for nothing.
func (w *world) trigger(options record.Options) {
	w.t.Helper()
	options.NoBlock = true
	if _, err := w.c.LiveUpdate(ctx, options); err != nil {
		w.t.Fatal(err)
	}
}

// reaches waits for a phase that may be about to end.
func (w *world) reaches(want phase.Phase) {
	w.t.Helper()
	if !soon(func() bool { return w.status().Phase == want }) {
		w.t.Fatalf("the phase %s does not come: %+v", want, w.status())
	}
}

// Nor does one that reads nothing, so that messages to it wait.
func TestAPID1ThatIsDeafHoldsNobodyUp(t *testing.T) {
	for _, call := range []func(w *world) error{
		func(w *world) error {
			f := memfd(w.t, "more")
			err := w.c.Preserve(ctx, b, []string{"more"}, []*os.File{f})
			if err != nil {
				f.Close()
			}
			return err
		},
		func(w *world) error { return w.c.Release(ctx, a, []string{"fd-0"}) },
		func(w *world) error { return w.c.Discard(ctx, a, nil) },
	} {
		w := newWorld(t)
		w.preserve(a, 2)
		w.store.Deafen(true)
		done := make(chan error, 1)
		go func() { done <- call(w) }()
		for range 20 {
			w.promptly("the status", func() { _, _ = w.c.Status(ctx) })
			time.Sleep(time.Millisecond)
		}
		w.promptly("the list", func() { _, _ = w.c.List(ctx) })
		w.promptly("a cancellation", func() { _ = w.c.Cancel(ctx, "it takes too long") })
		w.store.Deafen(false)
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
