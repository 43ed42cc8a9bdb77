package holdings

import (
	"context"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/fault"
)

// Discard gives up what a unit has here, or of it what has these names, which may be
// luod's or those that the unit's fd store knows: what it
// handed over, what came through an update, also what came back otherwise than it
// went, and sessions of its own that came. It is for what no unit will ever fetch.
// What is lost anyway is noted to be given up, and what could not be restored if names
// is empty: the unit is then started without it.
//
// Killed meanwhile: what was not given up yet is there after the next start.
func (h *Holdings) Discard(ctx context.Context, unit string, names []string) error {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	meant := func(name string) bool {
		return len(names) == 0 || slices.Contains(names, name) || slices.Contains(names, entryname.PlainName(name))
	}
	unread := h.unread != nil && len(names) == 0
	if unread && !slices.Contains(h.Rec.GivenUp, unit) {
		h.Rec.GivenUp = append(h.Rec.GivenUp, unit)
	}
	if err := h.discardLocked(ctx, unit, meant, meant); err != nil && !unread {
		return err
	}
	return h.SaveLocked()
}

// discardLocked gives up the files of a unit that are meant, and the sessions of its own that
// came through an update.
func (h *Holdings) discardLocked(ctx context.Context, unit string, meant, sessionMeant func(name string) bool) error {
	if err := h.SteadyLocked("discard file descriptors"); err != nil {
		return err
	}
	if err := h.copiedLocked(unit, "discard file descriptors"); err != nil {
		return err
	}
	var held []string
	for _, f := range h.Vault.Files(unit) {
		if meant(f.Name) {
			held = append(held, f.Name)
		}
	}
	gone := slices.Clone(held)
	for _, name := range h.awaitedLocked(unit) {
		if meant(name) && !slices.Contains(gone, name) {
			gone = append(gone, name) // it lies only in its session
		}
	}
	sessions := 0
	for i := len(h.Rec.Sessions) - 1; i >= 0; i-- {
		if d := h.Rec.Sessions[i]; d.Unit == unit && d.Incoming && sessionMeant(d.Name) {
			h.ForgetLocked(i)
			sessions++
		}
	}
	var lost []int
	for i, l := range h.Rec.Lost {
		if l.Unit == unit && meant(l.Name) {
			lost = append(lost, i)
		}
	}
	if len(gone)+sessions+len(lost) == 0 {
		return fault.New(errorname.NoSuchName, "discard: luod has nothing of that name for %s; see 'luoctl list'", unit)
	}
	if len(held) > 0 {
		if err := h.Vault.Remove(context.WithoutCancel(ctx), unit, held); err != nil {
			return err
		}
	}
	for _, i := range lost {
		h.Rec.Lost[i].Discarded = true
	}
	h.Log.Warn("discarded", "unit", unit, "names", gone, "sessions", sessions)
	h.releaseLocked(unit, gone)
	if h.Rec.Phase == phase.Restoring && h.AllFetchedLocked() {
		h.arrivedLocked()
	}
	return h.SaveLocked()
}

// releaseLocked notes that a unit no longer waits for names.
func (h *Holdings) releaseLocked(unit string, names []string) {
	if h.incoming[unit] != nil {
		if h.Rec.Released == nil {
			h.Rec.Released = map[string][]string{}
		}
		h.Rec.Released[unit] = append(h.Rec.Released[unit], names...)
	}
	h.fetchedLocked(unit, names)
}

// GiveUpUnfetched discards what came through an update and unit has not fetched.
func (h *Holdings) GiveUpUnfetched(unit string) error {
	ctx := context.Background()
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	waiting := h.awaitedLocked(unit)
	unfetched := func(name string) bool { return slices.Contains(waiting, name) }
	unreleased := func(string) bool { return true }
	return h.discardLocked(ctx, unit, unfetched, unreleased)
}
