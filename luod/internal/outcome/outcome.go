package outcome

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Units is what PID 1 says of services.
type Units interface {
	// Stores tells what is in their fd stores.
	Stores(ctx context.Context, units []string) (map[string]pid1.Store, error)
}

// Outcomes is what became of everything in this boot's update, and in earlier ones.
type Outcomes struct {
	state   *state.State
	units   Units
	history report.History
	// allFetched says that nothing of the update waits for its unit.
	allFetched func() bool
	// recent is the report of this boot's update, as it was at first.
	recent *report.Report
}

// New knows of no update in this boot. allFetched is called with Lock.
func New(s *state.State, units Units, history report.History, allFetched func() bool) *Outcomes {
	return &Outcomes{state: s, units: units, history: history, allFetched: allFetched}
}

// RecallLocked reads what a predecessor in this boot has noted.
func (o *Outcomes) RecallLocked() { o.recent = report.Noted(o.recentPath(), o.state.Rec.Generation) }

// reportLocked adds what the record knows of the last update.
func (o *Outcomes) reportLocked(r *report.Report) *report.Report {
	full := *r
	full.Files = slices.Clone(r.Files)
	full.Complete = o.allFetched()
	full.LeftBehind = append([]manifest.LeftBehind{}, o.state.Rec.LeftBehind...)
	full.TimeLine = slices.Clone(o.state.Rec.TimeLine)
	full.Files = slices.Clone(r.Files)
	for i, f := range full.Files {
		if f.Outcome == report.Recreated && (!slices.Contains(o.state.Rec.Fetched, f.Unit) || slices.Contains(o.state.Rec.Released[f.Unit], f.Name)) {
			full.Files[i].Outcome = report.Becoming
		}
	}
	return &full
}

// recentPath is where the report of this boot's update lies, as it was when
// everything was restored.
func (o *Outcomes) recentPath() string {
	return filepath.Join(filepath.Dir(o.state.Path()), "report.json")
}

// NoteLocked writes it down for a luod that is restarted.
func (o *Outcomes) NoteLocked(r *report.Report) {
	o.recent = r
	if err := report.Note(o.recentPath(), r); err != nil {
		o.state.Log.Warn("could not note what came through the live update", "error", err)
	}
}

// ArchiveLocked keeps the report of a complete update where it outlives the next, and
// forgets the oldest. The disk may be slow, so it does that on its own.
func (o *Outcomes) ArchiveLocked() {
	if o.recent == nil || o.history == "" {
		return
	}
	r := o.reportLocked(o.recent)
	o.state.Background.Go(func() {
		if err := o.history.Keep(r); err != nil {
			o.state.Log.Warn("could not keep the report of the live update", "error", err)
		}
	})
}

// Report returns the report of an update in JSON, of the last one if generation is
// 0.
func (o *Outcomes) Report(ctx context.Context, generation uint64) (string, error) {
	unlock, err := o.state.Lock(ctx)
	if err != nil {
		return "", err
	}
	var r *report.Report
	if o.recent != nil && (generation == 0 || generation == o.recent.Generation) {
		r = o.reportLocked(o.recent)
	}
	unlock()
	if r != nil {
		data, err := json.Marshal(r)
		return string(data), err
	}
	if generation == 0 {
		return "", fault.New(errorname.NoReport, "this boot is no live update; name an earlier one of %s", o.history)
	}
	data, err := o.history.Read(generation)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(errorname.NoReport, "there is no report of live update %d, only of %s", generation, o.history)
	}
	if err != nil {
		return "", fault.New(errorname.NoReport, "read the report: %w", err)
	}
	return data, nil
}

// AccountLocked looks whether PID 1 has brought back what it carried. Units that have
// started by then may have taken something out of their stores themselves, so it looks
// at once; PID 1 had everything before it started luod.
//
// Killed before it has looked: the report says "unknown", and the next start looks.
func (o *Outcomes) AccountLocked() {
	if o.recent == nil {
		return
	}
	units := map[string]bool{}
	for _, f := range o.recent.Files {
		if f.Outcome == report.Unknown {
			units[f.Unit] = true
		}
	}
	if len(units) == 0 {
		return
	}
	o.state.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
		defer cancel()
		stores, err := o.units.Stores(ctx, slices.Sorted(maps.Keys(units)))
		if err != nil {
			o.state.Log.Error("could not find out whether PID 1 has brought back what it carries", "error", err)
			return
		}
		unlock, err := o.state.Lock(context.Background())
		if err != nil {
			return
		}
		defer unlock()
		o.broughtBackLocked(stores)
	})
}

// broughtBackLocked notes what PID 1 has of what it carried, and that the rest is lost.
func (o *Outcomes) broughtBackLocked(stores map[string]pid1.Store) {
	back := map[string][]string{}
	for unit, s := range stores {
		for _, e := range s.Entries {
			back[unit] = append(back[unit], e.Name)
		}
	}
	for i, f := range o.recent.Files {
		if f.Outcome != report.Unknown {
			continue
		}
		if at := slices.Index(back[f.Unit], f.Name); at >= 0 {
			back[f.Unit] = slices.Delete(back[f.Unit], at, at+1)
			o.recent.Files[i].Outcome = "preserved"
			continue
		}
		l := restorer.Loss{Unit: f.Unit, Name: f.Name, Reason: fmt.Sprintf("%s carried it and did not bring it back into the fd store", report.ByPID1)}
		o.recent.Files[i].Outcome, o.recent.Files[i].Reason = "lost", l.Reason
		o.state.Rec.Lost = append(o.state.Rec.Lost, l)
		o.state.Log.Error("a file descriptor did not come through the live update", "unit", l.Unit, "name", l.Name, "reason", l.Reason, catalog.MessageID, catalog.Lost)
	}
	o.NoteLocked(o.recent)
	if o.state.Rec.Phase == phase.Idle {
		o.ArchiveLocked()
	}
	_ = o.state.SaveLocked()
}

// FoundLocked forgets losses of what has come back after all, since a restarted luod has more
// memory for a copy.
func (o *Outcomes) FoundLocked(files []restorer.File) {
	for _, f := range files {
		o.state.Rec.Lost = slices.DeleteFunc(o.state.Rec.Lost, func(l restorer.Loss) bool {
			back := l.Unit == f.Unit && l.Name == f.Name
			if back {
				o.state.Log.Info("a file descriptor that did not come through the live update came back after all", "unit", l.Unit, "name", l.Name)
			}
			return back
		})
	}
	if o.recent == nil {
		return
	}
	for i, f := range o.recent.Files {
		if f.Outcome == "lost" && slices.ContainsFunc(files, func(back restorer.File) bool { return back.Unit == f.Unit && back.Name == f.Name }) {
			o.recent.Files[i].Outcome, o.recent.Files[i].Reason = "preserved", ""
		}
	}
}

// Changes tells the log of what is not wholly as it was.
func (o *Outcomes) Changes(changes []restorer.Change) []restorer.Change {
	for _, one := range changes {
		o.state.Log.Warn("a file descriptor came through the live update, but not wholly as it was", "unit", one.Unit, "name", one.Name, "change", one.Note)
	}
	return changes
}
