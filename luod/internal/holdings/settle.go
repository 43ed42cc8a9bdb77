package holdings

import (
	"context"
	"slices"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// SettleInterval is how often a unit is looked at that has, or is about to have, what
// goes into its fd store.
const SettleInterval = time.Second

// settledLocked waits until a unit has back what came out of its fd store, and runs, and then
// lets go of the files: from then on PID 1 keeps them as long as the unit wants. If its
// start fails, the next one gets them once more.
//
// However often it is called, each unit is looked at once in an interval.
//
// Killed meanwhile: the next start of luod waits again.
func (h *Holdings) settledLocked(unit string) {
	if h.settling == nil {
		h.settling = map[string]uint64{}
	}
	n, waits := h.settling[unit]
	h.settling[unit] = n + 1
	if !waits {
		h.Clock.AfterFunc(SettleInterval, func() { h.lookWhether(unit) })
	}
}

// lookWhether looks whether unit has its store. What it sees says
// nothing if the unit was started meanwhile.
func (h *Holdings) lookWhether(unit string) {
	unlock, err := h.Lock(context.Background())
	if err != nil {
		return
	}
	before := h.settling[unit]
	unlock()
	ctx, cancel := context.WithTimeout(context.Background(), state.AskTimeout)
	defer cancel()
	running, err := h.PID1.Look(ctx, []string{unit})
	var stores map[string]pid1.Store
	if err == nil && running[unit].Runs() {
		stores, err = h.PID1.Stores(ctx, []string{unit})
	}
	unlock, stopped := h.LockHoldings(context.Background())
	if stopped != nil {
		return
	}
	defer unlock()
	stale := h.settling[unit] != before
	delete(h.settling, unit)
	held := h.fromStoreLocked(unit)
	switch is := running[unit]; {
	case len(held) == 0:
		return
	case err == nil && !stale && !is.Runs():
		return // its next start begins anew
	case err != nil || stale || h.Rec.Phase.Underway() || is.State != "active":
		h.settledLocked(unit)
		return
	}
	had := fdstores.Origin{Back: h.Rec.Back[unit]}
	if copied := h.Rec.Copied[unit]; copied.Start != "" && copied.Start == running[unit].InvocationID {
		had.Copied = copied.Names
	}
	h.letGoLocked(unit, held, had.Dispensable(held, h.Vault.Files(unit), stores[unit].Entries))
	_ = h.SaveLocked()
}

// starting notes that unit is being started: what PID 1 had for an earlier start it may
// have dropped since.
//
// Killed before it is written down: luod-reissue goes on only if PID 1 has everything.
func (h *Holdings) starting(ctx context.Context, unit string) error {
	unlock, err := h.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if n, waits := h.settling[unit]; waits {
		h.settling[unit] = n + 1
	}
	if _, is := h.Rec.Back[unit]; is {
		delete(h.Rec.Back, unit)
		_ = h.SaveLocked()
	}
	return nil
}

// letGoLocked gives up names, of what is held of a unit's store.
func (h *Holdings) letGoLocked(unit string, held []*vault.File, names []string) {
	if len(names) < len(held) {
		h.Log.Warn("luod keeps what it has not seen in the unit's fd store; the unit's next start gets it, and 'luoctl discard' gives it up", "unit", unit, "count", len(held)-len(names))
	}
	if len(names) == 0 {
		return
	}
	if err := h.Vault.Remove(context.Background(), unit, names); err != nil {
		h.Log.Warn("could not let go of what is in the unit's fd store again", "unit", unit, "error", err)
		return
	}
	if len(names) == len(held) {
		delete(h.Rec.Back, unit)
		delete(h.Rec.Copied, unit)
	}
	h.Log.Info("the unit has its fd store back", "unit", unit, "count", len(names))
}

// fromStoreLocked are a unit's files that came out of its fd store, or are a directory of
// its.
func (h *Holdings) fromStoreLocked(unit string) []*vault.File {
	return slices.DeleteFunc(h.Vault.Files(unit), func(f *vault.File) bool { return !entryname.Adopted(f.Name) })
}

// SettleAllLocked waits for every unit of which luod has what belongs into its fd store.
func (h *Holdings) SettleAllLocked() {
	for _, unit := range h.Vault.Units() {
		if len(h.fromStoreLocked(unit)) > 0 {
			h.settledLocked(unit)
		}
	}
}

// storeFor looks into the fd store of unit if any of names belongs there.
func (h *Holdings) storeFor(ctx context.Context, unit string, names []string) ([]storeview.Stored, error) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, state.AskTimeout)
	defer cancel()
	stores, err := h.PID1.Stores(ctx, []string{unit})
	if err != nil {
		return nil, fault.New(errorname.NoManager, "see what is in the fd store of %s: %w", unit, err)
	}
	return stores[unit].Entries, nil
}

// arrivedInLocked says which of names are in unit's fd store, as far as they belong there; the
// others are taken at their word.
func (h *Holdings) arrivedInLocked(unit string, names []string, store []storeview.Stored) (there, missing []string) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return names, nil
	}
	p, all := fdstores.Presence(store), h.Vault.Files(unit)
	for _, f := range all {
		_, packed := entryname.Directory(f.Name)
		switch {
		case !slices.Contains(names, f.Name):
		case !entryname.Adopted(f.Name), packed, p.Has(f, all):
			there = append(there, f.Name)
		default:
			missing = append(missing, f.Name)
		}
	}
	return there, missing
}
