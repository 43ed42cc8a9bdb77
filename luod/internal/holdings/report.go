package holdings

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
func (h *Holdings) reportLocked(r *report.Report) *report.Report {
	full := *r
	full.Files = slices.Clone(r.Files)
	full.Complete = h.AllFetchedLocked()
	full.LeftBehind = append([]manifest.LeftBehind{}, h.Rec.LeftBehind...)
	full.TimeLine = slices.Clone(h.Rec.TimeLine)
	full.Files = slices.Clone(r.Files)
	for i, f := range full.Files {
		if f.Outcome == report.Recreated && (!slices.Contains(h.Rec.Fetched, f.Unit) || slices.Contains(h.Rec.Released[f.Unit], f.Name)) {
			full.Files[i].Outcome = report.Becoming
		}
	}
	return &full
}

// RecentPath is where the report of this boot's update lies, as it was when
// everything was restored.
func (h *Holdings) RecentPath() string {
	return filepath.Join(filepath.Dir(h.Path()), "report.json")
}

// noteReportLocked writes it down for a luod that is restarted.
func (h *Holdings) noteReportLocked(r *report.Report) {
	h.recent = r
	if err := report.Note(h.RecentPath(), r); err != nil {
		h.Log.Warn("could not note what came through the live update", "error", err)
	}
}

// archiveLocked keeps the report of a complete update where it outlives the next, and
// forgets the oldest. The disk may be slow, so it does that on its own.
func (h *Holdings) archiveLocked() {
	if h.recent == nil || h.history == "" {
		return
	}
	r := h.reportLocked(h.recent)
	h.Background.Go(func() {
		if err := h.history.Keep(r); err != nil {
			h.Log.Warn("could not keep the report of the live update", "error", err)
		}
	})
}

// Report returns the report of an update in JSON, of the last one if generation is
// 0.
func (h *Holdings) Report(ctx context.Context, generation uint64) (string, error) {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return "", err
	}
	var r *report.Report
	if h.recent != nil && (generation == 0 || generation == h.recent.Generation) {
		r = h.reportLocked(h.recent)
	}
	unlock()
	if r != nil {
		data, err := json.Marshal(r)
		return string(data), err
	}
	if generation == 0 {
		return "", fault.New(errorname.NoReport, "this boot is no live update; name an earlier one of %s", h.history)
	}
	data, err := h.history.Read(generation)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(errorname.NoReport, "there is no report of live update %d, only of %s", generation, h.history)
	}
	if err != nil {
		return "", fault.New(errorname.NoReport, "read the report: %w", err)
	}
	return data, nil
}
