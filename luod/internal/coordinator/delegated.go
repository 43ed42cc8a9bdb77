package coordinator

import (
	"context"
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// maxSessions bounds the delegated sessions of all units; the kernel has room for
// some hundred sessions (kernel/liveupdate/luo_session.c: LUO_SESSION_MAX).
const maxSessions = 256

// findLocked returns the index of a unit's session in the record, or -1.
func (c *Coordinator) findLocked(unit, name string, incoming bool) int {
	return slices.IndexFunc(c.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && d.Name == name && d.Incoming == incoming })
}

// CreateSession makes a session for unit, or finds the one it made before, and
// returns a descriptor of it that the caller owns. It lasts until ReleaseSession,
// through restarts of the unit and of luod.
//
// Killed before the session is in the fd store: the kernel closes it, and the next
// start strikes it from the record.
func (c *Coordinator) CreateSession(ctx context.Context, unit, name string) (*os.File, error) {
	if err := c.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.Kernel.Probe(); err != nil {
		return nil, fault.New(errorname.NotSupported, "%s can't have a session: %w", unit, err)
	}
	if err := c.missingLocked(unit); err != nil {
		return nil, err
	}
	if err := c.steadyLocked("make a session"); err != nil {
		return nil, err
	}
	if err := sdnotify.CheckName(name); err != nil {
		return nil, fault.New(errorname.BadName, "make a session for %s: %w", unit, err)
	}
	if c.findLocked(unit, name, true) >= 0 {
		return nil, fault.New(errorname.SessionWaiting, "make a session for %s: its session %q came through a live update and is not released yet; retrieve it, empty it and release it first", unit, name)
	}
	if i := c.findLocked(unit, name, false); i >= 0 {
		return c.lendLocked(i)
	}
	own := 0
	for _, d := range c.Rec.Sessions {
		if d.Unit == unit {
			own++
		}
	}
	if own >= c.Settings.SessionsMax || len(c.Rec.Sessions) >= maxSessions {
		return nil, fault.New(errorname.TooMany, "make a session for %s: it has %d of at most %d, and all units have %d of at most %d", unit, own, c.Settings.SessionsMax, len(c.Rec.Sessions), maxSessions)
	}
	c.Rec.SessionCount++
	d := record.Delegated{Unit: unit, Name: name, Session: fmt.Sprintf("%sg%d.%d", packer.DelegatedPrefix, c.Rec.Generation+1, c.Rec.SessionCount)}
	c.Rec.Sessions = append(c.Rec.Sessions, d)
	err = c.SaveLocked()
	var s *luo.Session
	if err == nil {
		// Somebody else may have the device open.
		c.Apart(func() {
			ctx, cancel := context.WithTimeout(ctx, luo.OpenTimeout)
			defer cancel()
			s, err = c.Kernel.CreateSession(ctx, d.Session)
		})
	}
	if err == nil {
		c.sessions[d.Session] = s
		if err = c.Store.Push(d.Session, s.File()); err == nil {
			err = patientStore{c.Store, c}.Barrier(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		c.forgetLocked(len(c.Rec.Sessions) - 1)
		_ = c.SaveLocked()
		return nil, fault.New(errorname.SessionFailed, "make a session for %s: %w", unit, err)
	}
	c.Log.Info("made a session", "unit", unit, "name", name, "session", d.Session)
	return c.lendLocked(len(c.Rec.Sessions) - 1)
}

// RetrieveSession returns a descriptor of a session that came through an update.
// The unit retrieves what is in it, and then calls ReleaseSession.
func (c *Coordinator) RetrieveSession(ctx context.Context, unit, name string) (*os.File, error) {
	if err := c.claim(ctx, unit); err != nil {
		return nil, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.missingLocked(unit); err != nil {
		return nil, err
	}
	i := c.findLocked(unit, name, true)
	if i < 0 {
		return nil, fault.New(errorname.NoSuchSession, "retrieve a session: %s has no session %q that came through a live update", unit, name)
	}
	return c.lendLocked(i)
}

// ReleaseSession gives a session up: one that came through an update first, or
// else one for the next. When the unit has closed it too, the kernel finishes it,
// or lets go of what is in it.
func (c *Coordinator) ReleaseSession(ctx context.Context, unit, name string) error {
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.steadyLocked("release a session"); err != nil {
		return err
	}
	i := c.findLocked(unit, name, true)
	if i < 0 {
		i = c.findLocked(unit, name, false)
	}
	if i < 0 {
		return fault.New(errorname.NoSuchSession, "release a session: %s has no session %q", unit, name)
	}
	was := c.Rec.Sessions[i]
	c.forgetLocked(i)
	c.Log.Info("a session was released", "unit", unit, "name", name, "session", was.Session)
	if was.Incoming && c.allFetchedLocked() {
		c.arrivedLocked()
	}
	return c.SaveLocked()
}

// lendLocked duplicates a session's descriptor.
func (c *Coordinator) lendLocked(i int) (*os.File, error) {
	d := c.Rec.Sessions[i]
	s := c.sessions[d.Session]
	if s == nil {
		return nil, fault.New(errorname.SessionFailed, "lend %s its session %q: it is gone", d.Unit, d.Name)
	}
	fd, err := unix.FcntlInt(s.File().Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("duplicate the session %q of %s: %w", d.Name, d.Unit, err)
	}
	return os.NewFile(uintptr(fd), d.Name), nil
}

// forgetLocked closes a session here and strikes it from the record.
func (c *Coordinator) forgetLocked(i int) {
	d := c.Rec.Sessions[i]
	c.Rec.Sessions = slices.Delete(slices.Clone(c.Rec.Sessions), i, i+1)
	s := c.sessions[d.Session]
	if s == nil {
		return
	}
	delete(c.sessions, d.Session)
	if err := c.Store.Remove(d.Session); err != nil {
		c.Log.Warn("could not remove a session from the fd store", "session", d.Session, "error", err)
	}
	if err := s.Close(); err != nil {
		c.Log.Warn("could not close a session", "session", d.Session, "error", err)
	}
}

// reclaimLocked takes back the delegated sessions that a killed luod had, and returns those
// of which the record does not tell.
func (c *Coordinator) reclaimLocked(found map[string]*luo.Session) (left map[string]*luo.Session) {
	var known []record.Delegated
	for _, d := range c.Rec.Sessions {
		if s := found[d.Session]; s != nil {
			c.sessions[d.Session] = s
			known = append(known, d)
			delete(found, d.Session)
		}
	}
	c.Rec.Sessions = known
	return found
}

// welcomeLocked takes over what came through the update, and notes what did not.
func (c *Coordinator) welcomeLocked(unit manifest.Unit, r *restorer.Restored) {
	for _, d := range unit.Sessions {
		if s := r.Sessions[d.Session]; s != nil {
			c.sessions[d.Session] = s
			c.Rec.Sessions = append(c.Rec.Sessions, record.Delegated{Unit: unit.Name, Name: d.Name, Session: d.Session, Incoming: true})
		}
	}
}

// sessionUnitsLocked are the units that have sessions.
func (c *Coordinator) sessionUnitsLocked() []string {
	var units []string
	for _, d := range c.Rec.Sessions {
		units = append(units, d.Unit)
	}
	return units
}

// delegatesLocked says whether a unit has a session for the next kernel.
func (c *Coordinator) delegatesLocked(unit string) bool {
	return slices.ContainsFunc(c.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && !d.Incoming })
}

// outgoingSessionsLocked are a unit's, as the manifest tells of them.
func (c *Coordinator) outgoingSessionsLocked(unit string) []manifest.Session {
	var list []manifest.Session
	for _, d := range c.Rec.Sessions {
		if d.Unit == unit && !d.Incoming {
			list = append(list, manifest.Session{Name: d.Name, Session: d.Session})
		}
	}
	return list
}

// unreleasedLocked are the sessions that came through an update and were not released.
func (c *Coordinator) unreleasedLocked() []record.Delegated {
	return slices.DeleteFunc(slices.Clone(c.Rec.Sessions), func(d record.Delegated) bool { return !d.Incoming })
}

// allFetchedLocked says that nothing of the last update waits for its unit.
func (c *Coordinator) allFetchedLocked() bool {
	return len(c.incoming) == 0 && len(c.unreleasedLocked()) == 0
}
