package coordinator

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/report"
)

func (w *world) readReport(generation uint64) report.Report {
	w.t.Helper()
	text, err := w.c.Report(ctx, generation)
	if err != nil {
		w.t.Fatal(err)
	}
	var r report.Report
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

func TestTheReportTellsOfEveryDescriptor(t *testing.T) {
	w := newWorld(t)
	_, err := w.c.Report(ctx, 0)
	w.expectFault(err, "NoReport")
	w.preserve(a, 2)
	w.preserve(b, 1)
	w.session(a, "own", "x")
	w.update()
	w.reboot()
	r := w.readReport(0)
	if r.Generation != 1 || len(r.Files) != 4 || r.Complete || r.Files[0].Outcome != "preserved" || !slices.ContainsFunc(r.Files, func(f report.File) bool { return f.Session && f.Unit == a }) {
		t.Fatalf("%+v", r)
	}
	w.fetch(a, 2)
	w.kill()
	w.start()
	w.fetch(b, 1)
	w.emptied(a, "own", "x")
	if r := w.readReport(1); !r.Complete || len(r.Files) != 4 || !slices.ContainsFunc(r.TimeLine, func(m manifest.Mark) bool { return m.Name == "fetched "+a }) {
		t.Fatalf("%+v", r)
	}
	w.settleHistory(1)
	w.update()
	w.reboot()
	if r := w.readReport(1); !r.Complete || r.Generation != 1 {
		t.Fatalf("%+v", r)
	}
	if r := w.readReport(0); r.Generation != 2 {
		t.Fatalf("%+v", r)
	}
	_, err = w.c.Report(ctx, 7)
	w.expectFault(err, "NoReport")
}

func (w *world) settleHistory(generation uint64) {
	w.t.Helper()
	if !soon(func() bool {
		_, err := w.c.History.Read(generation)
		return err == nil
	}) {
		w.t.Fatal("no report is kept")
	}
}
