package holdings

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Stake is what luod has of one unit.
type Stake struct {
	Unit string `json:"unit"`
	// Count is how many file descriptors and sessions it is, and Bytes their size as far
	// as luod knows it.
	Count uint64 `json:"count"`
	Bytes uint64 `json:"bytes"`
	// Waiting are those of Count that came through an update and that the unit has not fetched.
	Waiting uint64 `json:"waiting"`
}

// Stakes is what would be lost if luod were gone: luod is a second fd store, so what a
// unit has itself counts as well, since its next start would find nothing.
type Stakes struct {
	// Units are in the order of their names.
	Units []Stake `json:"units"`
	// Unread is empty, or says what came through an update and nobody knows whose it is.
	Unread string `json:"unread"`
	// Stuck are sessions that must stay open, since nobody knows what is in them.
	Stuck uint64 `json:"stuck"`
}

// Stakes says what would be lost. It is a Fault (Busy) while an update is under way.
func (h *Holdings) Stakes(ctx context.Context) (Stakes, error) {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return Stakes{}, err
	}
	defer unlock()
	if err := h.stillLocked("see whether anything would be lost"); err != nil {
		return Stakes{}, err
	}
	return h.stakesLocked(), nil
}

// DiscardAll gives up all that there is, whosever it is, with the sessions for the next
// update and what could not be restored, and returns what it was. It is for whoever
// takes luod away. On an error the rest was given up nevertheless; what is still in the
// kernel because another process has the device open can't be.
//
// Killed meanwhile: what was not given up yet is there after the next start.
func (h *Holdings) DiscardAll(ctx context.Context) (Stakes, error) {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return Stakes{}, err
	}
	defer unlock()
	if err := h.stillLocked("discard everything"); err != nil {
		return Stakes{}, err
	}
	before := h.stakesLocked()
	var failed []error
	all := func(string) bool { return true }
	for _, s := range before.Units {
		if h.onlyOutgoingLocked(s.Unit) {
			continue // discard leaves those
		}
		if err := h.discardLocked(ctx, s.Unit, all, all); err != nil {
			failed = append(failed, err)
		}
	}
	for i := len(h.Rec.Sessions) - 1; i >= 0; i-- {
		h.ForgetLocked(i)
	}
	for i := range h.Rec.Lost {
		h.Rec.Lost[i].Discarded = true
	}
	failed = append(failed, h.discardUnreadLocked())
	h.discardStuckLocked()
	h.Log.Warn("discarded everything", "units", len(before.Units), "stuck", before.Stuck, "unread", before.Unread)
	failed = append(failed, h.SaveLocked())
	return before, errors.Join(failed...)
}

// stillLocked refuses what must not happen during an update, from its first step on.
func (h *Holdings) stillLocked(what string) error {
	if h.Rec.Phase.Underway() {
		return fault.New(errorname.Busy, "%s: a live update is under way (%s); take it back with 'luoctl cancel', or wait until it is over", what, h.Rec.Phase)
	}
	return nil
}

func (h *Holdings) stakesLocked() Stakes {
	s := Stakes{Units: []Stake{}, Stuck: uint64(len(h.stuck))}
	if h.unread != nil {
		s.Unread = h.Rec.Degraded
	}
	units := append(h.Vault.Units(), h.WaitingLocked()...)
	units = append(units, h.UnitsLocked()...)
	slices.Sort(units)
	for _, unit := range slices.Compact(units) {
		s.Units = append(s.Units, h.stakeLocked(unit))
	}
	return s
}

func (h *Holdings) stakeLocked(unit string) Stake {
	s := Stake{Unit: unit}
	waiting := h.awaitedLocked(unit)
	for _, f := range h.Vault.Files(unit) {
		s.Count++
		if facts, err := vault.Look(f.F); err == nil {
			s.Bytes += uint64(facts.Size)
		}
		if slices.Contains(waiting, f.Name) {
			s.Waiting++
		}
		waiting = slices.DeleteFunc(waiting, func(name string) bool { return name == f.Name })
	}
	for _, d := range h.Rec.Sessions {
		if d.Unit == unit {
			s.Count++
			if d.Incoming {
				s.Waiting++
			}
		}
	}
	// The rest came back otherwise than it went, and lies only in its session.
	s.Count += uint64(len(waiting))
	s.Waiting += uint64(len(waiting))
	return s
}

// onlyOutgoingLocked says that all that a unit has are sessions for the next update.
func (h *Holdings) onlyOutgoingLocked(unit string) bool {
	return len(h.Vault.Files(unit))+len(h.awaitedLocked(unit)) == 0 &&
		!slices.ContainsFunc(h.Rec.Sessions, func(d record.Delegated) bool { return d.Unit == unit && d.Incoming })
}

// discardUnreadLocked gives up what could not be restored. What of it the kernel still has
// stays there until the machine is rebooted, and so does the reason against an update.
func (h *Holdings) discardUnreadLocked() error {
	if h.unread == nil || h.Rec.Degraded == "" {
		return nil
	}
	if h.unread.busy {
		return fault.New(errorname.NotRestored, "discard what the previous kernel handed over: the kernel still has it, and %s", h.Rec.Degraded)
	}
	for name, s := range h.unread.sessions {
		h.letSessionGo(name, s.Close)
	}
	h.unread = nil
	h.Rec.Degraded = "what the previous kernel handed over could not be restored and was given up; no live update can run until the machine is rebooted"
	return nil
}

func (h *Holdings) discardStuckLocked() {
	for key, s := range h.stuck {
		h.letSessionGo(key[:strings.LastIndex(key, "#")], s.Close)
	}
	h.stuck = nil
}

// letSessionGo closes a session here and in the fd store.
func (h *Holdings) letSessionGo(name string, closeHere func() error) {
	if err := h.store.Remove(name); err != nil {
		h.Log.Warn("could not remove a session from the fd store", "session", name, "error", err)
	}
	if err := closeHere(); err != nil {
		h.Log.Warn("could not close a session", "session", name, "error", err)
	}
}
