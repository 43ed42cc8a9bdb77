package holdings

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/state"
)

// accountLocked looks whether PID 1 has brought back what it carried. Units that have
// started by then may have taken something out of their stores themselves, so it looks
// at once; PID 1 had everything before it started luod.
//
// Killed before it has looked: the report says "unknown", and the next start looks.
func (h *Holdings) accountLocked() {
	if h.recent == nil {
		return
	}
	units := map[string]bool{}
	for _, f := range h.recent.Files {
		if f.Outcome == report.Unknown {
			units[f.Unit] = true
		}
	}
	if len(units) == 0 {
		return
	}
	h.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
		defer cancel()
		stores, err := h.PID1.Stores(ctx, slices.Sorted(maps.Keys(units)))
		if err != nil {
			h.Log.Error("could not find out whether PID 1 has brought back what it carries", "error", err)
			return
		}
		unlock, err := h.Lock(context.Background())
		if err != nil {
			return
		}
		defer unlock()
		h.broughtBackLocked(stores)
	})
}

// broughtBackLocked notes what PID 1 has of what it carried, and that the rest is lost.
func (h *Holdings) broughtBackLocked(stores map[string]pid1.Store) {
	back := map[string][]string{}
	for unit, s := range stores {
		for _, e := range s.Entries {
			back[unit] = append(back[unit], e.Name)
		}
	}
	for i, f := range h.recent.Files {
		if f.Outcome != report.Unknown {
			continue
		}
		if at := slices.Index(back[f.Unit], f.Name); at >= 0 {
			back[f.Unit] = slices.Delete(back[f.Unit], at, at+1)
			h.recent.Files[i].Outcome = "preserved"
			continue
		}
		l := restorer.Loss{Unit: f.Unit, Name: f.Name, Reason: fmt.Sprintf("%s carried it and did not bring it back into the fd store", report.ByPID1)}
		h.recent.Files[i].Outcome, h.recent.Files[i].Reason = "lost", l.Reason
		h.Rec.Lost = append(h.Rec.Lost, l)
		h.Log.Error("a file descriptor did not come through the live update", "unit", l.Unit, "name", l.Name, "reason", l.Reason, catalog.MessageID, catalog.Lost)
	}
	h.noteReportLocked(h.recent)
	if h.Rec.Phase == phase.Idle {
		h.archiveLocked()
	}
	_ = h.SaveLocked()
}
