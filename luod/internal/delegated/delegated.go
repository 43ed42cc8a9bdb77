package delegated

import (
	"fmt"
	"os"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Store is luod's own fd store.
type Store interface {
	Remove(name string) error
}

// Sessions are those that units fill and empty themselves; luod only keeps them alive.
type Sessions struct {
	state *state.State
	store Store
	// open are they, by the kernel's name.
	open map[string]*luo.Session
}

// New has none.
func New(s *state.State, store Store) *Sessions {
	return &Sessions{state: s, store: store, open: map[string]*luo.Session{}}
}

// PutLocked has a session that the record tells of; own is its owner from now on.
func (own *Sessions) PutLocked(name string, s *luo.Session) { own.open[name] = s }

// CloseSessionsLocked closes this process's descriptors; what is in the fd store stays.
func (own *Sessions) CloseSessionsLocked() {
	for _, s := range own.open {
		s.Close()
	}
}

// FindLocked returns the index of a unit's session in the record, or -1.
func (own *Sessions) FindLocked(unit, name string, incoming bool) int {
	return slices.IndexFunc(own.state.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && d.Name == name && d.Incoming == incoming })
}

// LendLocked duplicates a session's descriptor.
func (own *Sessions) LendLocked(i int) (*os.File, error) {
	d := own.state.Rec.Sessions[i]
	s := own.open[d.Session]
	if s == nil {
		return nil, fault.New(errorname.SessionFailed, "lend %s its session %q: it is gone", d.Unit, d.Name)
	}
	f, err := descriptor.Dup(s.File(), d.Name)
	if err != nil {
		return nil, fmt.Errorf("lend %s its session %q: %w", d.Unit, d.Name, err)
	}
	return f, nil
}

// ForgetLocked closes a session here and strikes it from the record.
func (own *Sessions) ForgetLocked(i int) {
	d := own.state.Rec.Sessions[i]
	own.state.Rec.Sessions = slices.Delete(slices.Clone(own.state.Rec.Sessions), i, i+1)
	s := own.open[d.Session]
	if s == nil {
		return
	}
	delete(own.open, d.Session)
	if err := own.store.Remove(d.Session); err != nil {
		own.state.Log.Warn("could not remove a session from the fd store", "session", d.Session, "error", err)
	}
	if err := s.Close(); err != nil {
		own.state.Log.Warn("could not close a session", "session", d.Session, "error", err)
	}
}

// ReclaimLocked takes back the delegated sessions that a killed luod had, and returns those
// of which the record does not tell.
func (own *Sessions) ReclaimLocked(found map[string]*luo.Session) (left map[string]*luo.Session) {
	var known []record.Delegated
	for _, d := range own.state.Rec.Sessions {
		if s := found[d.Session]; s != nil {
			own.open[d.Session] = s
			known = append(known, d)
			delete(found, d.Session)
		}
	}
	own.state.Rec.Sessions = known
	return found
}

// WelcomeLocked takes over what came through the update, and notes what did not.
func (own *Sessions) WelcomeLocked(unit manifest.Unit, r *restorer.Restored) {
	for _, d := range unit.Sessions {
		if s := r.Sessions[d.Session]; s != nil {
			own.open[d.Session] = s
			own.state.Rec.Sessions = append(own.state.Rec.Sessions, record.Delegated{Unit: unit.Name, Name: d.Name, Session: d.Session, Incoming: true})
		}
	}
}

// UnitsLocked are the units that have sessions.
func (own *Sessions) UnitsLocked() []string {
	var units []string
	for _, d := range own.state.Rec.Sessions {
		units = append(units, d.Unit)
	}
	return units
}

// DelegatesLocked says whether a unit has a session for the next kernel.
func (own *Sessions) DelegatesLocked(unit string) bool {
	return slices.ContainsFunc(own.state.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && !d.Incoming })
}

// OutgoingOfLocked are a unit's, as the manifest tells of them.
func (own *Sessions) OutgoingOfLocked(unit string) []manifest.Session {
	var list []manifest.Session
	for _, d := range own.state.Rec.Sessions {
		if d.Unit == unit && !d.Incoming {
			list = append(list, manifest.Session{Name: d.Name, Session: d.Session})
		}
	}
	return list
}

// UnreleasedLocked are the sessions that came through an update and were not released.
func (own *Sessions) UnreleasedLocked() []record.Delegated {
	return slices.DeleteFunc(slices.Clone(own.state.Rec.Sessions), func(d record.Delegated) bool { return !d.Incoming })
}

// OutgoingLocked are the sessions of all units for the next kernel, by the kernel's
// name. They stay h's.
func (own *Sessions) OutgoingLocked() map[string]*luo.Session {
	sessions := map[string]*luo.Session{}
	for _, d := range own.state.Rec.Sessions {
		if s := own.open[d.Session]; s != nil && !d.Incoming {
			sessions[d.Session] = s
		}
	}
	return sessions
}
