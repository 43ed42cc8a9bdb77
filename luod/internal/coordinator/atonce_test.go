package coordinator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
)

// refusedFor says whether err is a refusal for now: of an update under way, or of the jump
// having been begun.
func refusedFor(err error, names ...string) bool {
	var f *fault.Fault
	if !errors.As(err, &f) {
		return false
	}
	for _, name := range names {
		if f.Name == name {
			return true
		}
	}
	return false
}

// busily is a service that hands over, looks, and gives up, again and again, while updates
// come and go: what it was told is kept is there, and what it gave up is not.
func (w *world) busily(unit string, until <-chan struct{}) (kept []string, err error) {
	for n := 0; ; n++ {
		select {
		case <-until:
			return kept, nil
		default:
		}
		name := fmt.Sprintf("n%d", n)
		f := memfd(w.t, unit+"/"+name)
		err := w.c.Preserve(ctx, unit, []string{name}, []*os.File{f})
		if err != nil {
			f.Close()
			if refusedFor(err, errorname.Busy) {
				continue
			}
			return kept, fmt.Errorf("preserve: %w", err)
		}
		kept = append(kept, name)
		got, err := w.c.Retrieve(ctx, unit, []string{name})
		if err != nil || len(got.Files) != 1 {
			return kept, fmt.Errorf("what was just handed over is not there: %v, %w", got.Names, err)
		}
		content, err := io.ReadAll(io.NewSectionReader(got.Files[0], 0, 99))
		got.Close()
		if err != nil || string(content) != unit+"/"+name {
			return kept, fmt.Errorf("%s is given %q, %w", unit, content, err)
		}
		if n%3 == 0 {
			continue
		}
		switch err := w.c.Release(ctx, unit, []string{name}); {
		case err == nil:
			kept = kept[:len(kept)-1]
			if got, err := w.c.Retrieve(ctx, unit, []string{name}); err == nil {
				got.Close()
				return kept, errors.New("what was given up is there")
			}
		case !refusedFor(err, errorname.Busy):
			return kept, fmt.Errorf("release: %w", err)
		}
	}
}

// Everybody calls at once, while updates are begun and taken back and PID 1 is slow to say
// that it has what was pushed. Afterwards everything that was kept comes through.
func TestManyAtOnceLoseNothing(t *testing.T) {
	w := newWorld(t)
	w.load()
	w.register(a, record.Registration{}) // and is never ready, so that no update is committed
	stop := make(chan struct{})
	var all sync.WaitGroup
	kept := make([][]string, 4)
	units := make([]string, len(kept))
	for i := range kept {
		units[i] = fmt.Sprintf("unit%d.service", i)
		all.Go(func() {
			var err error
			if kept[i], err = w.busily(units[i], stop); err != nil {
				t.Errorf("%s: %v", units[i], err)
			}
		})
	}
	all.Go(func() { // sessions of its own
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			f, err := w.c.CreateSession(ctx, "vm.service", fmt.Sprint(i%2))
			if err == nil {
				f.Close()
				err = w.c.ReleaseSession(ctx, "vm.service", fmt.Sprint(i%2))
			}
			if err != nil && !refusedFor(err, errorname.Busy, errorname.NoSuchSession) {
				t.Errorf("a session: %v", err)
				return
			}
		}
	})
	all.Go(func() { // an admin who looks
		for {
			select {
			case <-stop:
				return
			default:
			}
			_, e1 := w.c.Status(ctx)
			_, e2 := w.c.List(ctx)
			_, e3 := w.c.Stakes(ctx)
			if err := errors.Join(e1, e2); err != nil || e3 != nil && !refusedFor(e3, errorname.Busy) {
				t.Errorf("look: %v, %v", err, e3)
				return
			}
		}
	})
	deadline, updates := time.Now().Add(time.Second), 0
	for n := 0; time.Now().Before(deadline); n++ {
		w.store.Mute(n%2 == 0)
		unmuted := make(chan struct{})
		time.AfterFunc(2*time.Millisecond, func() { w.store.Mute(false); close(unmuted) })
		if _, err := w.c.LiveUpdate(ctx, record.Options{NoBlock: true}); err != nil {
			t.Errorf("begin: %v", err)
			break
		}
		<-unmuted
		if n%3 == 0 {
			w.reaches(phase.Preparing)
		}
		if err := w.c.Cancel(ctx, "again"); err != nil {
			t.Errorf("cancel: %v", err)
			break
		}
		updates++
		w.settle()
	}
	close(stop)
	all.Wait()
	t.Logf("%d updates were taken back, and %d, %d, %d and %d files kept", updates, len(kept[0]), len(kept[1]), len(kept[2]), len(kept[3]))
	if t.Failed() {
		return
	}
	if s := w.status(); s.Phase != phase.Idle {
		t.Fatalf("%+v", s)
	}
	if err := w.c.Unregister(ctx, a); err != nil {
		t.Fatal(err)
	}
	w.update()
	w.reboot()
	for i, unit := range units {
		got, err := w.c.Retrieve(ctx, unit, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Files) != len(kept[i]) || len(got.Files) == 0 {
			t.Errorf("%s had %d, and %d came back", unit, len(kept[i]), len(got.Files))
		}
		for j, f := range got.Files {
			content, err := io.ReadAll(io.NewSectionReader(f, 0, 99))
			if err != nil || string(content) != unit+"/"+got.Names[j] {
				t.Errorf("%s of %s has come back as %q, %v", got.Names[j], unit, content, err)
			}
		}
		got.Close()
	}
}
