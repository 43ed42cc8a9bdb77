package holdings

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// findLocked returns the index of a unit's session in the record, or -1.
func (h *Holdings) findLocked(unit, name string, incoming bool) int {
	return slices.IndexFunc(h.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && d.Name == name && d.Incoming == incoming })
}

// CreateSession makes a session for unit, or finds the one it made before, and
// returns a descriptor of it that the caller owns. It lasts until ReleaseSession,
// through restarts of the unit and of luod.
//
// Killed before the session is in the fd store: the kernel closes it, and the next
// start strikes it from the record.
func (h *Holdings) CreateSession(ctx context.Context, unit, name string) (*os.File, error) {
	if err := h.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := h.kernel.Probe(); err != nil {
		return nil, fault.New(errorname.NotSupported, "%s can't have a session: %w", unit, err)
	}
	if err := h.missingLocked(unit); err != nil {
		return nil, err
	}
	if err := h.SteadyLocked("make a session"); err != nil {
		return nil, err
	}
	if err := sdnotify.CheckName(name); err != nil {
		return nil, fault.New(errorname.BadName, "make a session for %s: %w", unit, err)
	}
	if h.findLocked(unit, name, true) >= 0 {
		return nil, fault.New(errorname.SessionWaiting, "make a session for %s: its session %q came through a live update and is not released yet; retrieve it, empty it and release it first", unit, name)
	}
	if i := h.findLocked(unit, name, false); i >= 0 {
		return h.lendLocked(i)
	}
	own := 0
	for _, d := range h.Rec.Sessions {
		if d.Unit == unit {
			own++
		}
	}
	if own >= h.settings.SessionsMax {
		return nil, fault.New(errorname.TooMany, "make a session for %s: it has %d of at most %d (SessionsMax= of luod.conf)", unit, own, h.settings.SessionsMax)
	}
	h.Rec.SessionCount++
	d := record.Delegated{Unit: unit, Name: name, Session: fmt.Sprintf("%sg%d.%d", packer.DelegatedPrefix, h.Rec.Generation+1, h.Rec.SessionCount)}
	h.Rec.Sessions = append(h.Rec.Sessions, d)
	err = h.SaveLocked()
	var s *luo.Session
	if err == nil {
		// Somebody else may have the device open.
		h.Apart(func() {
			ctx, cancel := context.WithTimeout(ctx, luo.OpenTimeout)
			defer cancel()
			s, err = h.kernel.CreateSession(ctx, d.Session)
		})
	}
	if err == nil {
		h.sessions[d.Session] = s
		if err = h.store.Push(d.Session, s.File()); err == nil {
			err = patientStore{h.store, h.State}.Barrier(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		h.forgetLocked(len(h.Rec.Sessions) - 1)
		_ = h.SaveLocked()
		if errors.Is(err, unix.ENOSPC) {
			return nil, fault.New(errorname.TooMany, "make a session for %s, when all units have %d: %w", unit, len(h.Rec.Sessions), err)
		}
		return nil, fault.New(errorname.SessionFailed, "make a session for %s: %w", unit, err)
	}
	h.Log.Info("made a session", "unit", unit, "name", name, "session", d.Session)
	return h.lendLocked(len(h.Rec.Sessions) - 1)
}

// RetrieveSession returns a descriptor of a session that came through an update.
// The unit retrieves what is in it, and then calls ReleaseSession.
func (h *Holdings) RetrieveSession(ctx context.Context, unit, name string) (*os.File, error) {
	if err := h.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := h.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := h.missingLocked(unit); err != nil {
		return nil, err
	}
	i := h.findLocked(unit, name, true)
	if i < 0 {
		return nil, fault.New(errorname.NoSuchSession, "retrieve a session: %s has no session %q that came through a live update", unit, name)
	}
	return h.lendLocked(i)
}

// ReleaseSession gives a session up: one that came through an update first, or
// else one for the next. When the unit has closed it too, the kernel finishes it,
// or lets go of what is in it.
func (h *Holdings) ReleaseSession(ctx context.Context, unit, name string) error {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.SteadyLocked("release a session"); err != nil {
		return err
	}
	i := h.findLocked(unit, name, true)
	if i < 0 {
		i = h.findLocked(unit, name, false)
	}
	if i < 0 {
		return fault.New(errorname.NoSuchSession, "release a session: %s has no session %q", unit, name)
	}
	was := h.Rec.Sessions[i]
	h.forgetLocked(i)
	h.Log.Info("a session was released", "unit", unit, "name", name, "session", was.Session)
	if was.Incoming && h.AllFetchedLocked() {
		h.arrivedLocked()
	}
	return h.SaveLocked()
}

// lendLocked duplicates a session's descriptor.
func (h *Holdings) lendLocked(i int) (*os.File, error) {
	d := h.Rec.Sessions[i]
	s := h.sessions[d.Session]
	if s == nil {
		return nil, fault.New(errorname.SessionFailed, "lend %s its session %q: it is gone", d.Unit, d.Name)
	}
	f, err := descriptor.Dup(s.File(), d.Name)
	if err != nil {
		return nil, fmt.Errorf("lend %s its session %q: %w", d.Unit, d.Name, err)
	}
	return f, nil
}

// forgetLocked closes a session here and strikes it from the record.
func (h *Holdings) forgetLocked(i int) {
	d := h.Rec.Sessions[i]
	h.Rec.Sessions = slices.Delete(slices.Clone(h.Rec.Sessions), i, i+1)
	s := h.sessions[d.Session]
	if s == nil {
		return
	}
	delete(h.sessions, d.Session)
	if err := h.store.Remove(d.Session); err != nil {
		h.Log.Warn("could not remove a session from the fd store", "session", d.Session, "error", err)
	}
	if err := s.Close(); err != nil {
		h.Log.Warn("could not close a session", "session", d.Session, "error", err)
	}
}

// ReclaimLocked takes back the delegated sessions that a killed luod had, and returns those
// of which the record does not tell.
func (h *Holdings) ReclaimLocked(found map[string]*luo.Session) (left map[string]*luo.Session) {
	var known []record.Delegated
	for _, d := range h.Rec.Sessions {
		if s := found[d.Session]; s != nil {
			h.sessions[d.Session] = s
			known = append(known, d)
			delete(found, d.Session)
		}
	}
	h.Rec.Sessions = known
	return found
}

// welcomeLocked takes over what came through the update, and notes what did not.
func (h *Holdings) welcomeLocked(unit manifest.Unit, r *restorer.Restored) {
	for _, d := range unit.Sessions {
		if s := r.Sessions[d.Session]; s != nil {
			h.sessions[d.Session] = s
			h.Rec.Sessions = append(h.Rec.Sessions, record.Delegated{Unit: unit.Name, Name: d.Name, Session: d.Session, Incoming: true})
		}
	}
}

// SessionUnitsLocked are the units that have sessions.
func (h *Holdings) SessionUnitsLocked() []string {
	var units []string
	for _, d := range h.Rec.Sessions {
		units = append(units, d.Unit)
	}
	return units
}

// DelegatesLocked says whether a unit has a session for the next kernel.
func (h *Holdings) DelegatesLocked(unit string) bool {
	return slices.ContainsFunc(h.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && !d.Incoming })
}

// OutgoingSessionsLocked are a unit's, as the manifest tells of them.
func (h *Holdings) OutgoingSessionsLocked(unit string) []manifest.Session {
	var list []manifest.Session
	for _, d := range h.Rec.Sessions {
		if d.Unit == unit && !d.Incoming {
			list = append(list, manifest.Session{Name: d.Name, Session: d.Session})
		}
	}
	return list
}

// UnreleasedLocked are the sessions that came through an update and were not released.
func (h *Holdings) UnreleasedLocked() []record.Delegated {
	return slices.DeleteFunc(slices.Clone(h.Rec.Sessions), func(d record.Delegated) bool { return !d.Incoming })
}

// AllFetchedLocked says that nothing of the last update waits for its unit.
func (h *Holdings) AllFetchedLocked() bool {
	return len(h.incoming) == 0 && len(h.UnreleasedLocked()) == 0
}

// UnitsSessionsLocked are the sessions of all units for the next kernel, by the kernel's
// name. They stay h's.
func (h *Holdings) UnitsSessionsLocked() map[string]*luo.Session {
	sessions := map[string]*luo.Session{}
	for _, d := range h.Rec.Sessions {
		if s := h.sessions[d.Session]; s != nil && !d.Incoming {
			sessions[d.Session] = s
		}
	}
	return sessions
}
