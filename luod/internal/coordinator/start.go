package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/vault"
)

func (c *Coordinator) manifestName() string { return manifest.SessionName }

// Start makes a coordinator of what is left of a predecessor in this boot and of
// what the previous kernel handed over. It owns entries, which are everything
// that came back from the fd store. An error means that luod can't work at all;
// a handover that can't be understood is no error but a degraded status.
func Start(ctx context.Context, config Config, entries []sdnotify.Entry) (*Coordinator, error) {
	if config.Settings == (settings.Settings{}) {
		config.Settings = settings.Default()
	}
	c := &Coordinator{
		Config: config, state: newGate(), holdings: newGate(), closed: make(chan struct{}),
		incoming: map[string]*arrival{}, sessions: map[string]*luo.Session{},
	}
	// What is started here and comes back waits until all is restored.
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	defer unlock()
	c.vault = vault.New(patientStore{c.Store, c}, vault.Limits{Files: config.Settings.FileDescriptorsMax, Bytes: config.Settings.BytesMax})
	started := c.Clock.Now()
	old, err := record.Read(c.Path())
	if err != nil {
		// Without it the fd store still tells most; the phase is unknown.
		c.Log.Error("the record of this boot is unreadable", "error", err)
	}
	var bundles []sdnotify.Entry
	var sessions []*luo.Session
	for _, e := range entries {
		name, isSession := c.Kernel.SessionName(e.File)
		switch {
		case isSession && (name == manifest.SessionName || strings.HasPrefix(name, packer.SessionPrefix)):
			sessions = append(sessions, c.Kernel.SessionFromFile(e.File))
		case vault.IsEntry(e.Name):
			bundles = append(bundles, e)
		default:
			c.Log.Warn("left an unknown entry in the fd store", "name", e.Name, "session", name)
			e.File.Close()
		}
	}
	if len(bundles)+len(sessions) > 0 {
		c.Log.Info("came back from the fd store", "bundles", len(bundles), "sessions", len(sessions))
	}
	if err := c.vault.Adopt(bundles); err != nil {
		c.Log.Error("some of what was handed over is unreadable", "error", err)
		c.Rec.Warning = err.Error()
	}
	incoming, outgoing, delegated := c.sortLocked(sessions)
	if old != nil {
		warning := c.Rec.Warning
		c.Rec = *old
		if warning != "" {
			c.Rec.Warning = warning
		}
	} else {
		c.Rec.Phase = phase.Idle
	}
	if old != nil {
		left := c.reclaimLocked(delegated)
		if c.Rec.Generation == 0 {
			// Killed after these were retrieved, and before the record told of them.
			maps.Copy(incoming, left)
			left = nil
		}
		for name, s := range left {
			c.Log.Error("a session is not in the record; it is kept open", "session", name)
			c.keepStuckLocked(name, s)
		}
		c.reuniteLocked()
	} else {
		maps.Copy(incoming, delegated) // PID 1 carried them
	}
	if old != nil {
		c.recent = report.Noted(c.recentPath(), c.Rec.Generation)
	}
	c.resumeLocked(ctx, outgoing)
	// A record that tells of a restored handover has its generation.
	if old == nil || old.Degraded != "" || incoming[manifest.SessionName] != nil {
		c.restoreLocked(ctx, incoming, started)
	} else {
		c.nothingLeftLocked(incoming)
	}
	if err := c.SaveLocked(); err != nil {
		c.CloseLocked()
		return nil, err
	}
	c.armLocked()
	c.restoredLocked()
	c.settleAllLocked()
	c.served = true
	return c, nil
}

// restoredLocked does what follows when the record tells of what was restored.
func (c *Coordinator) restoredLocked() {
	c.payLocked()
	if c.Rec.Phase == phase.Restoring {
		c.retainLocked()
	}
	c.accountLocked()
}

// nothingLeftLocked is what restore finds after all was fetched, or if there was nothing:
// what is still open without its manifest stays open.
func (c *Coordinator) nothingLeftLocked(back map[string]*luo.Session) {
	for name, s := range back {
		c.keepStuckLocked(name, s)
	}
	if c.Rec.Phase == phase.Restoring && len(c.unreleasedLocked()) == 0 {
		c.Rec.Phase = phase.Idle
	}
}

// sortLocked tells sessions that came from the previous kernel from those made for the
// next. Asking for a token that no packer uses changes nothing: an incoming
// session answers ENOENT, an outgoing one EINVAL (kernel/liveupdate/luo_session.c:
// luo_ioctl_type_valid). Duplicates of one session are closed.
func (c *Coordinator) sortLocked(sessions []*luo.Session) (incoming, outgoing, delegated map[string]*luo.Session) {
	incoming, outgoing, delegated = map[string]*luo.Session{}, map[string]*luo.Session{}, map[string]*luo.Session{}
	for _, s := range sessions {
		name, err := s.Name()
		if err != nil {
			c.Log.Error("a session in the fd store does not tell its name", "error", err)
			c.keepStuckLocked("nameless", s)
			continue
		}
		direction := incoming
		if f, err := s.RetrieveFD(^uint64(0)); err == nil {
			f.Close()
		} else if errors.Is(err, unix.EINVAL) {
			direction = outgoing
		}
		if strings.HasPrefix(name, packer.DelegatedPrefix) {
			direction = delegated // the record tells which way
		}
		if direction[name] != nil {
			s.Close()
			continue
		}
		direction[name] = s
	}
	return incoming, outgoing, delegated
}

func (c *Coordinator) keepStuckLocked(name string, s *luo.Session) {
	if c.stuck == nil {
		c.stuck = map[string]*luo.Session{}
	}
	c.stuck[fmt.Sprintf("%s#%d", name, len(c.stuck))] = s
}

// leftover is the outgoing sessions of a killed luod.
type leftover struct {
	store    Store
	sessions map[string]*luo.Session
}

func (l leftover) Close() error {
	var failed []error
	for name, s := range l.sessions {
		failed = append(failed, l.store.Remove(name), s.Close())
	}
	return errors.Join(failed...)
}

func (l leftover) Drop() { closeAll(l.sessions) }

func (l leftover) Sessions() map[string]*luo.Session { return maps.Clone(l.sessions) }

// resumeLocked goes on where a killed luod stood. A jump that was committed and is
// under way goes on with the sessions kept open; anything else is taken back.
func (c *Coordinator) resumeLocked(ctx context.Context, outgoing map[string]*luo.Session) {
	out := leftover{store: c.Store, sessions: outgoing}
	if c.Rec.Phase == phase.Committed {
		jumping, err := c.Jumper.Jumping(ctx)
		if err != nil {
			// PID 1 doesn't answer while it shuts down: keep everything.
			c.Log.Warn("luod was restarted during a jump and PID 1 does not say whether it goes on; keeping the sessions", "error", err)
		}
		if jumping || err != nil {
			c.outgoing = out
			c.oversee(0)
			c.Log.Warn("luod was restarted after the commit: the live update goes on", "sessions", len(outgoing))
			return
		}
	}
	if c.Rec.Phase == phase.Committed || c.Rec.Phase.Underway() || len(outgoing) > 0 {
		was := c.Rec.Phase
		c.letHoldersGo()
		if err := out.Close(); err != nil {
			c.Log.Error("could not take back what a killed luod had preserved", "error", err)
		}
		c.Rec.Phase = phase.Idle
		c.Rec.LastError = fmt.Sprintf("luod was restarted while the update was %s: it was taken back", was)
		c.tellLocked(c.Rec.Asked, c.Rec.LastError)
		c.Rec.Asked = nil
		c.unhookLocked(c.Rec.LastError)
		c.Log.Warn("luod was restarted during a live update: it was taken back", "phase", was, "sessions", len(outgoing), catalog.MessageID, catalog.TakenBack)
	}
	c.reviveLocked()
}

// restoreLocked brings back what the previous kernel handed over, or what a killed
// luod had not finished bringing back. What can't be restored yet is unread.
func (c *Coordinator) restoreLocked(ctx context.Context, back map[string]*luo.Session, started time.Time) {
	if c.Kernel.Probe() != nil && len(back) == 0 {
		c.noteNothingLocked()
		return
	}
	again := c.Rec.Generation != 0 // the record tells of it
	have := func(unit, name string) bool {
		if again && slices.Contains(c.Rec.Fetched, unit) || c.releasedLocked(unit, name) {
			return true
		}
		files, err := c.vault.Select(c.calledLocked(unit), []string{name})
		return err == nil && len(files) == 1
	}
	// Such a record tells of all delegated sessions too.
	from := restorer.Source{Kernel: c.Kernel, Store: c.Store, Have: have, Delegated: !again, Patience: c.patienceLocked(), Room: c.roomFor}
	var r *restorer.Restored
	var err error
	c.Apart(func() { r, err = from.Restore(ctx, back) })
	if err != nil {
		c.notRestoredLocked(r, err, started)
		return
	}
	c.unread, c.Rec.Degraded = nil, ""
	c.manifest = r.Session
	m := r.Manifest
	if !again {
		c.Rec.Generation, c.Rec.OldKernel = m.Generation, m.OldKernel
		c.Rec.TimeLine, c.Rec.LeftBehind = m.TimeLine, m.LeftBehind
		c.MarkLocked("kernel started", c.Machine.Booted())
		c.MarkLocked("luod started", started)
	}
	c.Rec.Phase = phase.Restoring
	for i := range r.Files {
		r.Files[i].Unit = c.calledLocked(r.Files[i].Unit)
	}
	c.foundLocked(r.Files)
	for _, l := range r.Lost {
		l.Unit = c.calledLocked(l.Unit)
		if c.lostLocked(l.Unit, l.Name) {
			continue // known since before luod was restarted
		}
		c.Rec.Lost = append(c.Rec.Lost, l)
		c.Log.Error("a file descriptor did not come through the live update", "unit", l.Unit, "name", l.Name, "reason", l.Reason, catalog.MessageID, catalog.Lost)
	}
	c.keepLocked(r.Files)
	for _, u := range m.Units {
		c.welcomeLocked(u, r)
		if slices.Contains(c.Rec.Fetched, u.Name) {
			continue
		}
		unit := c.calledLocked(u.Name)
		a := c.incoming[unit]
		if a == nil {
			a = &arrival{sessions: map[string]*luo.Session{}, names: map[string]bool{}}
		}
		for _, f := range u.Files {
			s := r.Sessions[f.Session]
			if s != nil {
				a.sessions[f.Session] = s
			}
			if c.releasedLocked(u.Name, f.Name) {
				continue
			}
			// One that came back otherwise than it went stays in its session,
			// which therefore is never finished.
			if have(u.Name, f.Name) || s != nil && c.lostLocked(unit, f.Name) {
				a.names[f.Name] = true
			}
		}
		if len(a.names) > 0 {
			c.incoming[unit] = a
		}
	}
	if !again {
		c.MarkLocked("restored", c.Clock.Now())
		c.noteReportLocked(report.Compose(m, c.Machine.Release, r.Lost, c.changed(r.Changed)...))
		c.oweLocked("restore", m.Generation, "LUOD_OLD_KERNEL="+m.OldKernel)
	}
	c.Log.Info("restored what the previous kernel handed over", "generation", m.Generation, "from", m.OldKernel, "units", len(m.Units), "lost", len(r.Lost), catalog.MessageID, catalog.Restored)
	if c.allFetchedLocked() {
		c.arrivedLocked()
	}
}

// releasedLocked says whether a file of a unit of the manifest was given up.
func (c *Coordinator) releasedLocked(unit, name string) bool {
	return slices.Contains(c.Rec.Released[unit], name) || slices.Contains(c.Rec.Released[c.calledLocked(unit)], name)
}

func (c *Coordinator) lostLocked(unit, name string) bool {
	return slices.ContainsFunc(c.Rec.Lost, func(l restorer.Loss) bool { return l.Unit == unit && l.Name == name })
}

// keepLocked puts restored files into the vault, unit by unit in their order.
func (c *Coordinator) keepLocked(files []restorer.File) {
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
	for i, err := range c.vault.Restore(context.Background(), batches) {
		if err == nil {
			continue
		}
		// They are still safe in their sessions.
		b := batches[i]
		c.Log.Error("could not keep restored file descriptors; they stay in their sessions", "unit", b.Unit, "error", err)
		for j, f := range b.Files {
			f.Close()
			c.Rec.Lost = append(c.Rec.Lost, restorer.Loss{Unit: b.Unit, Name: b.Names[j], Reason: err.Error()})
		}
	}
}

// noteNothingLocked tells a cold boot from an update that lost everything: luod puts
// the generation on the command line of the kernel it loads.
func (c *Coordinator) noteNothingLocked() {
	c.unread, c.Rec.Degraded = nil, ""
	if generation, ok := c.expected(); ok {
		c.Rec.Warning = fmt.Sprintf("the command line says that this boot is generation %d of a live update, but the previous kernel handed nothing over to luod: either its memory was lost (an ordinary reboot, or a kernel that does not understand the old one), or somebody booted with a copied command line", generation)
		c.Log.Error(c.Rec.Warning)
	}
}
