package holdings

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// RestoreLocked brings back what the previous kernel handed over, or what a killed
// luod had not finished bringing back. What can't be restored yet is unread.
func (h *Holdings) RestoreLocked(ctx context.Context, back map[string]*luo.Session, started time.Time) {
	if h.kernel.Probe() != nil && len(back) == 0 {
		h.noteNothingLocked()
		return
	}
	again := h.Rec.Generation != 0 // the record tells of it
	have := func(unit, name string) bool {
		if again && slices.Contains(h.Rec.Fetched, unit) || h.releasedLocked(unit, name) {
			return true
		}
		files, err := h.Vault.Select(h.calledLocked(unit), []string{name})
		return err == nil && len(files) == 1
	}
	// Such a record tells of all delegated sessions too.
	from := restorer.Source{Kernel: h.kernel, Store: h.store, Have: have, Delegated: !again, Patience: h.patienceLocked(), Room: h.roomFor}
	var r *restorer.Restored
	var err error
	h.Apart(func() { r, err = from.Restore(ctx, back) })
	if err != nil {
		h.notRestoredLocked(r, err, started)
		return
	}
	h.unread, h.Rec.Degraded = nil, ""
	h.manifest = r.Session
	m := r.Manifest
	if !again {
		h.Rec.Generation, h.Rec.OldKernel = m.Generation, m.OldKernel
		h.Rec.TimeLine, h.Rec.LeftBehind = m.TimeLine, m.LeftBehind
		h.MarkLocked("kernel started", h.machine.Booted())
		h.MarkLocked("luod started", started)
	}
	if h.Rec.Phase != phase.Restoring {
		_ = h.EnterLocked(phase.Jumped)
	}
	for i := range r.Files {
		r.Files[i].Unit = h.calledLocked(r.Files[i].Unit)
	}
	h.FoundLocked(r.Files)
	for _, l := range r.Lost {
		l.Unit = h.calledLocked(l.Unit)
		if h.LostLocked(l.Unit, l.Name) {
			continue // known since before luod was restarted
		}
		h.Rec.Lost = append(h.Rec.Lost, l)
		h.Log.Error("a file descriptor did not come through the live update", "unit", l.Unit, "name", l.Name, "reason", l.Reason, catalog.MessageID, catalog.Lost)
	}
	h.keepLocked(r.Files)
	for _, u := range m.Units {
		h.WelcomeLocked(u, r)
		if slices.Contains(h.Rec.Fetched, u.Name) {
			continue
		}
		unit := h.calledLocked(u.Name)
		a := h.incoming[unit]
		if a == nil {
			a = &arrival{sessions: map[string]*luo.Session{}, names: map[string]bool{}}
		}
		for _, f := range u.Files {
			s := r.Sessions[f.Session]
			if s != nil {
				a.sessions[f.Session] = s
			}
			if h.releasedLocked(u.Name, f.Name) {
				continue
			}
			// One that came back otherwise than it went stays in its session,
			// which therefore is never finished.
			if have(u.Name, f.Name) || s != nil && h.LostLocked(unit, f.Name) {
				a.names[f.Name] = true
			}
		}
		if len(a.names) > 0 {
			h.incoming[unit] = a
		}
	}
	if !again {
		h.MarkLocked("restored", h.Clock.Now())
		h.NoteLocked(report.Compose(m, h.machine.Release, r.Lost, h.Changes(r.Changed)...))
		h.hooks.OweLocked("restore", m.Generation, "LUOD_OLD_KERNEL="+m.OldKernel)
	}
	h.Log.Info("restored what the previous kernel handed over", "generation", m.Generation, "from", m.OldKernel, "units", len(m.Units), "lost", len(r.Lost), catalog.MessageID, catalog.Restored)
	if h.AllFetchedLocked() {
		h.arrivedLocked()
	}
}

// releasedLocked says whether a file of a unit of the manifest was given up.
func (h *Holdings) releasedLocked(unit, name string) bool {
	return slices.Contains(h.Rec.Released[unit], name) || slices.Contains(h.Rec.Released[h.calledLocked(unit)], name)
}

func (h *Holdings) LostLocked(unit, name string) bool {
	return slices.ContainsFunc(h.Rec.Lost, func(l restorer.Loss) bool { return l.Unit == unit && l.Name == name })
}

// keepLocked puts restored files into the vault, unit by unit in their order.
func (h *Holdings) keepLocked(files []restorer.File) {
	var batches []vault.Batch
	of := map[string]int{}
	for _, f := range files {
		i, is := of[f.Unit]
		if !is {
			i = len(batches)
			of[f.Unit] = i
			batches = append(batches, vault.Batch{Unit: f.Unit})
		}
		b := &batches[i]
		b.Names, b.Files = append(b.Names, f.Name), append(b.Files, f.F)
	}
	for i, err := range h.Vault.Restore(context.Background(), batches) {
		if err == nil {
			continue
		}
		// They are still safe in their sessions.
		b := batches[i]
		h.Log.Error("could not keep restored file descriptors; they stay in their sessions", "unit", b.Unit, "error", err)
		for j, f := range b.Files {
			f.Close()
			h.Rec.Lost = append(h.Rec.Lost, restorer.Loss{Unit: b.Unit, Name: b.Names[j], Reason: err.Error()})
		}
	}
}

// noteNothingLocked tells a cold boot from an update that lost everything: luod puts
// the generation on the command line of the kernel it loads.
func (h *Holdings) noteNothingLocked() {
	h.unread, h.Rec.Degraded = nil, ""
	if generation, ok := h.expected(); ok {
		h.Rec.Warning = fmt.Sprintf("the command line says that this boot is generation %d of a live update, but the previous kernel handed nothing over to luod: either its memory was lost (an ordinary reboot, or a kernel that does not understand the old one), or somebody booted with a copied command line", generation)
		h.Log.Error(h.Rec.Warning)
	}
}

// roomFor says why there is no memory for a copy of so many bytes now.
func (h *Holdings) roomFor(bytes int64) error {
	available, err := h.memory()
	if err != nil {
		return err
	}
	return available.Room(bytes)
}
