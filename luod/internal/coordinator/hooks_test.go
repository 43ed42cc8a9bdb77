package coordinator

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/luod/internal/record"
)

// expectHooks waits until these were run, as "PHASE GENERATION".
func (w *world) expectHooks(want ...string) {
	w.t.Helper()
	var got []string
	if !soon(func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		got = slices.Clone(w.ran)
		return slices.Equal(got, want)
	}) {
		w.t.Fatalf("the hooks run were %q, want %q", got, want)
	}
}

func TestHooksHearOfEachPhase(t *testing.T) {
	w := newWorld(t)
	w.hooks = true
	w.preserve(a, 2)
	w.update()
	w.expectHooks("prepare 1", "commit 1")
	w.reboot()
	w.expectHooks("prepare 1", "commit 1", "restore 1")
	// Once, even if luod is restarted.
	w.settle()
	w.toldAll()
	w.kill()
	w.start()
	w.expectHooks("prepare 1", "commit 1", "restore 1")
	w.fetch(a, 2)
}

func (w *world) toldAll() {
	w.t.Helper()
	if !soon(func() bool {
		owing, _ := locked(ctx, w.c, func() (bool, error) { return len(w.c.Rec.Owed) > 0, nil })
		return !owing
	}) {
		w.t.Fatal("hooks are still owed something")
	}
}

func TestAHookVetoes(t *testing.T) {
	w := newWorld(t)
	w.hooks = true
	w.preserve(a, 2)
	w.register(a, record.Registration{})
	w.veto = errors.New("hook 10-x: exit status 1: it is noon")
	w.load()
	_, err := w.c.LiveUpdate(ctx, record.Options{Message: "new kernel"})
	w.expectFault(err, "Vetoed")
	if !strings.Contains(err.Error(), "it is noon") {
		t.Error(err)
	}
	w.asBefore("it is noon", a)
	w.expectHooks("prepare 1", "cancel 1")
	w.expectTold() // no service has heard of it
	if len(w.walls) != 2 || !strings.Contains(w.walls[0], "new kernel") || !strings.Contains(w.walls[1], "it is noon") {
		t.Errorf("told everybody %q", w.walls)
	}
}

func TestNoHooksNoWall(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{NoWall: true}); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	w.fetch(a, 2)
	if len(w.ran)+len(w.walls) > 0 {
		t.Errorf("%q, %q", w.ran, w.walls)
	}
}
