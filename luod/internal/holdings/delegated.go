package holdings

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

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
	if h.FindLocked(unit, name, true) >= 0 {
		return nil, fault.New(errorname.SessionWaiting, "make a session for %s: its session %q came through a live update and is not released yet; retrieve it, empty it and release it first", unit, name)
	}
	if i := h.FindLocked(unit, name, false); i >= 0 {
		return h.LendLocked(i)
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
		h.PutLocked(d.Session, s)
		if err = h.store.Push(d.Session, s.File()); err == nil {
			err = state.Patient{Store: h.store, State: h.State}.Barrier(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		h.ForgetLocked(len(h.Rec.Sessions) - 1)
		_ = h.SaveLocked()
		if errors.Is(err, unix.ENOSPC) {
			return nil, fault.New(errorname.TooMany, "make a session for %s, when all units have %d: %w", unit, len(h.Rec.Sessions), err)
		}
		return nil, fault.New(errorname.SessionFailed, "make a session for %s: %w", unit, err)
	}
	h.Log.Info("made a session", "unit", unit, "name", name, "session", d.Session)
	return h.LendLocked(len(h.Rec.Sessions) - 1)
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
	i := h.FindLocked(unit, name, true)
	if i < 0 {
		return nil, fault.New(errorname.NoSuchSession, "retrieve a session: %s has no session %q that came through a live update", unit, name)
	}
	return h.LendLocked(i)
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
	i := h.FindLocked(unit, name, true)
	if i < 0 {
		i = h.FindLocked(unit, name, false)
	}
	if i < 0 {
		return fault.New(errorname.NoSuchSession, "release a session: %s has no session %q", unit, name)
	}
	was := h.Rec.Sessions[i]
	h.ForgetLocked(i)
	h.Log.Info("a session was released", "unit", unit, "name", name, "session", was.Session)
	if was.Incoming && h.AllFetchedLocked() {
		h.arrivedLocked()
	}
	return h.SaveLocked()
}

// AllFetchedLocked says that nothing of the last update waits for its unit.
func (h *Holdings) AllFetchedLocked() bool {
	return len(h.incoming) == 0 && len(h.UnreleasedLocked()) == 0
}
