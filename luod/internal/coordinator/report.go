package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/report"
)

// reportLocked adds what the record knows of the last update.
func (c *Coordinator) reportLocked(r *report.Report) *report.Report {
	full := *r
	full.Files = slices.Clone(r.Files)
	full.Complete = c.allFetchedLocked()
	full.LeftBehind = append([]manifest.LeftBehind{}, c.Rec.LeftBehind...)
	full.TimeLine = slices.Clone(c.Rec.TimeLine)
	full.Files = slices.Clone(r.Files)
	for i, f := range full.Files {
		if f.Outcome == report.Recreated && (!slices.Contains(c.Rec.Fetched, f.Unit) || slices.Contains(c.Rec.Released[f.Unit], f.Name)) {
			full.Files[i].Outcome = report.Becoming
		}
	}
	return &full
}

// recentPath is where the report of this boot's update lies, as it was when
// everything was restored.
func (c *Coordinator) recentPath() string {
	return filepath.Join(filepath.Dir(c.Path()), "report.json")
}

// noteReportLocked writes it down for a luod that is restarted.
func (c *Coordinator) noteReportLocked(r *report.Report) {
	c.recent = r
	if err := report.Note(c.recentPath(), r); err != nil {
		c.Log.Warn("could not note what came through the live update", "error", err)
	}
}

// archiveLocked keeps the report of a complete update where it outlives the next, and
// forgets the oldest. The disk may be slow, so it does that on its own.
func (c *Coordinator) archiveLocked() {
	if c.recent == nil || c.History == "" {
		return
	}
	r := c.reportLocked(c.recent)
	c.Background.Go(func() {
		if err := c.History.Keep(r); err != nil {
			c.Log.Warn("could not keep the report of the live update", "error", err)
		}
	})
}

// Report returns the report of an update in JSON, of the last one if generation is
// 0.
func (c *Coordinator) Report(ctx context.Context, generation uint64) (string, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return "", err
	}
	var r *report.Report
	if c.recent != nil && (generation == 0 || generation == c.recent.Generation) {
		r = c.reportLocked(c.recent)
	}
	unlock()
	if r != nil {
		data, err := json.Marshal(r)
		return string(data), err
	}
	if generation == 0 {
		return "", fault.New(errorname.NoReport, "this boot is no live update; name an earlier one of %s", c.History)
	}
	data, err := c.History.Read(generation)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(errorname.NoReport, "there is no report of live update %d, only of %s", generation, c.History)
	}
	if err != nil {
		return "", fault.New(errorname.NoReport, "read the report: %w", err)
	}
	return data, nil
}
