package holdings

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/declared"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/state"
)

// calledLocked is what a unit of the manifest is called now.
func (h *Holdings) calledLocked(unit string) string {
	if now := h.Rec.Renamed[unit]; now != "" {
		return now
	}
	return unit
}

// claim gives unit what luod has of those that it was called before: systemd's other
// names for it, and Aliases= of its unit file. A unit that is still there keeps its
// own, whoever claims it. It asks nobody unless unit has nothing here and somebody else has.
func (h *Holdings) claim(ctx context.Context, unit string) error {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return err
	}
	others := h.ownersLocked()
	unlock()
	if len(others) == 0 || slices.Contains(others, unit) {
		return nil
	}
	ask, cancel := context.WithTimeout(ctx, state.Briefly)
	defer cancel()
	names, err := declared.FormerNames(ask, h.units, unit)
	if err != nil {
		return err
	}
	for _, old := range names {
		if !slices.Contains(others, old) {
			continue
		}
		is, err := h.units.Known(ask, old)
		if err != nil {
			return fault.New(errorname.NoManager, "find out whether %s is still there: %w", old, err)
		}
		if is.Loaded && is.Name != unit {
			h.Log.Warn("a unit claims what belongs to another that is still there", "unit", unit, "other", old)
			continue
		}
		if err := h.rename(ctx, old, unit); err != nil {
			return fmt.Errorf("give %s what was %s's: %w", unit, old, err)
		}
	}
	return nil
}

// ownersLocked are the units of which something is here; some may be listed twice.
func (h *Holdings) ownersLocked() []string {
	return slices.Concat(h.Vault.Units(), slices.Collect(maps.Keys(h.incoming)), h.UnitsLocked())
}

// rename gives everything of old to unit.
//
// Killed before the record says so: nothing has changed. Killed after: the next start
// finds in the record who it belongs to, and moves what was not moved yet.
func (h *Holdings) rename(ctx context.Context, old, unit string) error {
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := h.SteadyLocked("give a unit what it had under another name"); err != nil {
		return err
	}
	if slices.Contains(h.ownersLocked(), unit) {
		return nil // it has got something meanwhile, which stays its own
	}
	was := h.Rec
	h.Rec.Renamed = map[string]string{old: unit}
	for before, now := range was.Renamed {
		if now == old {
			now = unit
		}
		h.Rec.Renamed[before] = now
	}
	h.Rec.Moving = map[string]string{old: unit}
	h.Rec.Sessions = slices.Clone(was.Sessions)
	for i, d := range h.Rec.Sessions {
		if d.Unit == old {
			h.Rec.Sessions[i].Unit = unit
		}
	}
	if err := h.SaveLocked(); err != nil {
		h.Rec = was
		return err
	}
	switch err := h.Vault.Move(context.WithoutCancel(ctx), old, unit); {
	case err == nil:
		h.Rec.Moving = nil
	case len(h.Vault.Files(old)) > 0:
		return err // nothing was moved; the next try does it
	default:
		// The next start finds the rest of the old bundles, and drops it.
		h.Log.Warn("could not remove from the fd store what another unit has now", "unit", unit, "before", old, "error", err)
	}
	if from := h.incoming[old]; from != nil {
		delete(h.incoming, old)
		h.incoming[unit] = from
	}
	h.Log.Info("a unit has what it had under another name", "unit", unit, "before", old)
	return h.SaveLocked()
}

// ReuniteLocked ends the move of a killed luod.
func (h *Holdings) ReuniteLocked() {
	for old, unit := range h.Rec.Moving {
		if err := h.Vault.Move(context.Background(), old, unit); err != nil {
			h.Log.Error("could not give a unit what it had under another name", "unit", unit, "before", old, "error", err)
			return
		}
	}
	h.Rec.Moving = nil
}
