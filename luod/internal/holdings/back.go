package holdings

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// TakeOverLocked takes over what a predecessor in this boot has left: its record, which is
// nil if there is none, and entries, which are everything that came back from the fd store.
// It returns the sessions that came from the previous kernel and are not restored yet, and
// those made for the next, which the caller owns.
func (h *Holdings) TakeOverLocked(old *record.Record, entries []sdnotify.Entry) (incoming, outgoing map[string]*luo.Session) {
	sessions := h.adoptLocked(entries)
	incoming, outgoing, delegated, nameless := restorer.Sort(sessions)
	for _, s := range nameless {
		h.Log.Error("a session in the fd store does not tell its name")
		h.KeepStuckLocked("nameless", s)
	}
	if old == nil {
		maps.Copy(incoming, delegated) // PID 1 carried them
		return incoming, outgoing
	}
	warning := h.Rec.Warning
	h.Rec = *old
	if warning != "" {
		h.Rec.Warning = warning
	}
	left := h.ReclaimLocked(delegated)
	if h.Rec.Generation == 0 {
		// Killed after these were retrieved, and before the record told of them.
		maps.Copy(incoming, left)
		left = nil
	}
	for name, s := range left {
		h.Log.Error("a session is not in the record; it is kept open", "session", name)
		h.KeepStuckLocked(name, s)
	}
	h.ReuniteLocked()
	h.RecallLocked()
	return incoming, outgoing
}

// adoptLocked puts bundles into the vault, and returns the sessions among entries.
func (h *Holdings) adoptLocked(entries []sdnotify.Entry) []*luo.Session {
	var bundles []sdnotify.Entry
	var sessions []*luo.Session
	for _, e := range entries {
		name, isSession := h.kernel.SessionName(e.File)
		switch {
		case isSession && (name == manifest.SessionName || strings.HasPrefix(name, packer.SessionPrefix)):
			sessions = append(sessions, h.kernel.SessionFromFile(e.File))
		case vault.IsEntry(e.Name):
			bundles = append(bundles, e)
		default:
			h.Log.Warn("left an unknown entry in the fd store", "name", e.Name, "session", name)
			e.File.Close()
		}
	}
	if len(bundles)+len(sessions) > 0 {
		h.Log.Info("came back from the fd store", "bundles", len(bundles), "sessions", len(sessions))
	}
	if err := h.Vault.Adopt(bundles); err != nil {
		h.Log.Error("some of what was handed over is unreadable", "error", err)
		h.Rec.Warning = err.Error()
	}
	return sessions
}

// BringBackLocked restores what the previous kernel handed over, unless the record old
// tells that this was done. It owns back.
func (h *Holdings) BringBackLocked(ctx context.Context, old *record.Record, back map[string]*luo.Session, started time.Time) {
	// A record that tells of a restored handover has its generation.
	if old == nil || old.Degraded != "" || back[manifest.SessionName] != nil {
		h.RestoreLocked(ctx, back, started)
	} else {
		h.NothingLeftLocked(back)
	}
}

// NothingLeftLocked is what restore finds after all was fetched, or if there was nothing:
// what is still open without its manifest stays open.
func (h *Holdings) NothingLeftLocked(back map[string]*luo.Session) {
	for name, s := range back {
		h.KeepStuckLocked(name, s)
	}
	if h.Rec.Phase == phase.Restoring && len(h.UnreleasedLocked()) == 0 {
		_ = h.EnterLocked(phase.Complete)
	}
}

func (h *Holdings) KeepStuckLocked(name string, s *luo.Session) {
	if h.stuck == nil {
		h.stuck = map[string]*luo.Session{}
	}
	h.stuck[fmt.Sprintf("%s#%d", name, len(h.stuck))] = s
}
