package coordinator

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/liveupdate/luod/luod/internal/manifest"
)

func (w *world) readReport(generation uint64) Report {
	w.t.Helper()
	text, err := w.c.Report(ctx, generation)
	if err != nil {
		w.t.Fatal(err)
	}
	var r Report
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
	if r.Generation != 1 || len(r.Files) != 4 || r.Complete || r.Files[0].Outcome != "preserved" || !slices.ContainsFunc(r.Files, func(f ReportFile) bool { return f.Session && f.Unit == a }) {
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
		_, err := os.Stat(reportPath(w.c.History, generation))
		return err == nil
	}) {
		w.t.Fatal("no report is kept")
	}
}

func TestOldReportsAreForgotten(t *testing.T) {
	dir := t.TempDir()
	for i := range uint64(maxHistory + 5) {
		if err := keepReport(dir, &Report{Generation: i}); err != nil {
			t.Fatal(err)
		}
		// As if each were an hour later.
		at := time.Unix(int64(i)*3600, 0)
		if err := os.Chtimes(reportPath(dir, i), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := prune(dir); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != maxHistory || entries[0].Name() != fmt.Sprintf("%08d.json", 5) {
		t.Fatalf("%d reports, the first %s, %v", len(entries), entries[0].Name(), err)
	}
}
