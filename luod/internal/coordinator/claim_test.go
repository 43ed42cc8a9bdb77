package coordinator

import (
	"errors"
	"slices"
	"testing"

	"github.com/liveupdate/luod/internal/phase"
)

const renamed = "renamed.service"

// A unit that was renamed gets what it had under its old name, also when luod is
// killed meanwhile, and nobody else does.
func TestARenamedUnitGetsWhatWasItsOwn(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.preserve(b, 1)
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 1, a, b)
	// One that says nothing gets nothing, nor one that claims what is there still.
	w.declare(renamed, "Preserve=fdstore\n")
	if fetch, err := w.c.Retrieve(ctx, renamed, nil); err != nil || len(fetch.Names) != 0 {
		t.Fatalf("%q, %v", fetch.Names, err)
	}
	w.declare(b, "Preserve=fdstore\n")
	w.declare(renamed, "Preserve=fdstore\nAliases="+b+"\n")
	if fetch, err := w.c.Retrieve(ctx, renamed, nil); err != nil || len(fetch.Names) != 0 {
		t.Fatalf("%q, %v", fetch.Names, err)
	}
	// A mistake elsewhere in its unit file keeps no service from starting.
	w.declare(renamed, "TimeoutSec=soon\n")
	if fetch, err := w.c.Retrieve(ctx, renamed, nil); err != nil || len(fetch.Names) != 0 {
		t.Fatalf("%q, %v", fetch.Names, err)
	}
	w.declare(renamed, "TimeoutSec=soon\nAliases="+a+"\n")
	if _, err := w.c.Retrieve(ctx, renamed, nil); err == nil {
		t.Fatal("a name that may be wrong was taken for right")
	}
	w.declare(renamed, "Preserve=fdstore\nAliases="+b+" "+a+"\n")
	var names []string
	for range 2 {
		fetch, err := w.c.Retrieve(ctx, renamed, nil)
		if err != nil || len(fetch.Names) != 3 {
			t.Fatalf("%q, %v", fetch.Names, err)
		}
		names = fetch.Names
		fetch.Close()
		w.expect(phase.Restoring, 1, b, renamed)
		w.kill()
		w.start()
		w.expect(phase.Restoring, 1, b, renamed)
	}
	if got := w.names(renamed); !slices.Equal(got, names) || len(w.names(a)) != 0 {
		t.Fatalf("it has %q, and the old one %q", got, w.names(a))
	}
	// Another unit of the old name has nothing to do with it.
	w.preserve(a, 1)
	if err := w.c.Fetched(ctx, renamed, names); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	w.expect(phase.Restoring, 1, b)
	w.fetch(b, 1)
	if len(w.names(a)) != 1 || len(w.names(renamed)) != 3 {
		t.Fatalf("the old one has %q, the renamed %q", w.names(a), w.names(renamed))
	}
	w.expect(phase.Idle, 1)
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 2, a, b, renamed)
}

// Whichever way a renamed unit asks, it gets what was its own.
func TestARenamedUnitGetsItsOwnWhateverItAsksFor(t *testing.T) {
	for name, ask := range map[string]func(w *world) error{
		"names": func(w *world) error { _, err := w.c.Own(ctx, renamed); return err },
		"a session": func(w *world) error {
			f, err := w.c.RetrieveSession(ctx, renamed, "vm")
			if err == nil {
				f.Close()
			}
			return err
		},
		"to make one": func(w *world) error {
			_, err := w.c.CreateSession(ctx, renamed, "vm")
			w.expectFault(err, "SessionWaiting")
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preserve(a, 2)
			w.session(a, "vm", "state")
			w.update()
			w.reboot()
			w.declare(renamed, "Aliases="+a+"\n")
			if err := ask(w); err != nil {
				t.Fatal(err)
			}
			if got := w.names(renamed); len(got) != 2 {
				t.Errorf("it has %q", got)
			}
			w.emptied(renamed, "vm", "state")
		})
	}
}

// A luod that is killed in the middle of the move ends it.
func TestAMoveThatWasInterruptedIsEnded(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.declare(renamed, "Aliases="+a+"\n")
	w.c.Rec.Renamed, w.c.Rec.Moving = map[string]string{a: renamed}, map[string]string{a: renamed}
	if _, err := w.c.Rec.Write(w.c.Path(), nil); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.start()
	if len(w.names(a)) != 0 || len(w.names(renamed)) != 2 {
		t.Fatalf("the old one has %q, the renamed %q", w.names(a), w.names(renamed))
	}
}

// A move that fails changes nothing, and the next start of the unit does it.
func TestAMoveThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.update()
	w.reboot()
	w.declare(renamed, "Aliases="+a+"\n")
	w.store.FailNext(errTest)
	if _, err := w.c.Retrieve(ctx, renamed, nil); !errors.Is(err, errTest) {
		t.Fatalf("got %v", err)
	}
	w.expect(phase.Restoring, 1, a)
	fetch, err := w.c.Retrieve(ctx, renamed, nil)
	if err != nil || len(fetch.Names) != 2 {
		t.Fatalf("%q, %v", fetch.Names, err)
	}
	fetch.Close()
	if err := w.c.Fetched(ctx, renamed, fetch.Names); err != nil {
		t.Fatal(err)
	}
	w.expect(phase.Idle, 1)
}
