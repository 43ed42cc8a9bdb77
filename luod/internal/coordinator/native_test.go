package coordinator

import (
	"encoding/json"
	"testing"

	"github.com/liveupdate/luod/luod/fdstore"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// accounts waits until nothing is unaccounted for, and returns the report's outcomes
// by name.
func (w *world) accounts() map[string]string {
	w.t.Helper()
	outcomes := map[string]string{}
	if !soon(func() bool {
		text, err := w.c.Report(ctx, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		var r Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			w.t.Fatal(err)
		}
		clear(outcomes)
		open := false
		for _, f := range r.Files {
			outcomes[f.Name] += f.Outcome + " " + f.Carrier + ";"
			open = open || f.Outcome == unaccounted
		}
		return !open
	}) {
		w.t.Fatal("something is never accounted for")
	}
	return outcomes
}

// What PID 1 carries is accounted for, entry by entry, also when luod is killed
// before it has looked.
func TestWhatPID1CarriesIsAccountedFor(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.preserve(b, 1)
	entry := func(name string) fdstore.Stored { return fdstore.Stored{Name: name, Memfd: true} }
	w.stores = map[string]pid1.Store{a: {Native: true, Entries: []fdstore.Stored{entry("x"), entry("x"), entry("y"), entry("z")}}}
	w.update()
	next := map[string]pid1.Store{a: {Native: true, Entries: []fdstore.Stored{entry("z"), entry("x"), entry("new")}}}
	w.storesErr = errTest
	w.reboot()
	w.kill()
	w.stores, w.storesErr = next, nil
	w.start()
	got := w.accounts()
	want := map[string]string{"fd-0": "preserved ;", "x": "preserved PID 1;lost PID 1;", "y": "lost PID 1;", "z": "preserved PID 1;"}
	for name, outcome := range want {
		if got[name] != outcome {
			t.Errorf("%s: got %q, want %q", name, got[name], outcome)
		}
	}
	if s := w.status(); len(s.Lost) != 2 {
		t.Errorf("lost %v", s.Lost)
	}
}
