package coordinator

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
	"github.com/liveupdate/luod/luod/internal/vault"
)

// settleInterval is how often a unit is looked at that has, or is about to have, what
// goes into its fd store.
const settleInterval = time.Second

// settledLocked waits until a unit has back what came out of its fd store, and runs, and then
// lets go of the files: from then on PID 1 keeps them as long as the unit wants. If its
// start fails, the next one gets them once more.
//
// However often it is called, each unit is looked at once in an interval.
//
// Killed meanwhile: the next start of luod waits again.
func (c *Coordinator) settledLocked(unit string) {
	if c.settling == nil {
		c.settling = map[string]uint64{}
	}
	n, waits := c.settling[unit]
	c.settling[unit] = n + 1
	if !waits {
		c.Clock.AfterFunc(settleInterval, func() { c.lookWhether(unit) })
	}
}

// lookWhether looks whether unit has its store. What it sees says
// nothing if the unit was started meanwhile.
func (c *Coordinator) lookWhether(unit string) {
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return
	}
	before := c.settling[unit]
	unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	running, err := c.Units.Look(ctx, []string{unit})
	var stores map[string]pid1.Store
	if err == nil && running[unit].Runs() {
		stores, err = c.Units.Stores(ctx, []string{unit})
	}
	unlock, stopped := c.LockHoldings(context.Background())
	if stopped != nil {
		return
	}
	defer unlock()
	stale := c.settling[unit] != before
	delete(c.settling, unit)
	held := c.fromStoreLocked(unit)
	switch is := running[unit]; {
	case len(held) == 0:
		return
	case err == nil && !stale && !is.Runs():
		return // its next start begins anew
	case err != nil || stale || c.Rec.Phase.Underway() || is.State != "active":
		c.settledLocked(unit)
		return
	}
	had := fdstores.Origin{Back: c.Rec.Back[unit]}
	if copied := c.Rec.Copied[unit]; copied.Start != "" && copied.Start == running[unit].InvocationID {
		had.Copied = copied.Names
	}
	c.letGoLocked(unit, held, had.Dispensable(held, c.vault.Files(unit), stores[unit].Entries))
	_ = c.SaveLocked()
}

// starting notes that unit is being started: what PID 1 had for an earlier start it may
// have dropped since.
//
// Killed before it is written down: luod-reissue goes on only if PID 1 has everything.
func (c *Coordinator) starting(ctx context.Context, unit string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if n, waits := c.settling[unit]; waits {
		c.settling[unit] = n + 1
	}
	if _, is := c.Rec.Back[unit]; is {
		delete(c.Rec.Back, unit)
		_ = c.SaveLocked()
	}
	return nil
}

// letGoLocked gives up names, of what is held of a unit's store.
func (c *Coordinator) letGoLocked(unit string, held []*vault.File, names []string) {
	if len(names) < len(held) {
		c.Log.Warn("luod keeps what it has not seen in the unit's fd store; the unit's next start gets it, and 'luoctl discard' gives it up", "unit", unit, "count", len(held)-len(names))
	}
	if len(names) == 0 {
		return
	}
	if err := c.vault.Remove(context.Background(), unit, names); err != nil {
		c.Log.Warn("could not let go of what is in the unit's fd store again", "unit", unit, "error", err)
		return
	}
	if len(names) == len(held) {
		delete(c.Rec.Back, unit)
		delete(c.Rec.Copied, unit)
	}
	c.Log.Info("the unit has its fd store back", "unit", unit, "count", len(names))
}

// fromStoreLocked are a unit's files that came out of its fd store, or are a directory of
// its.
func (c *Coordinator) fromStoreLocked(unit string) []*vault.File {
	return slices.DeleteFunc(c.vault.Files(unit), func(f *vault.File) bool { return !entryname.Adopted(f.Name) })
}

// settleAllLocked waits for every unit of which luod has what belongs into its fd store.
func (c *Coordinator) settleAllLocked() {
	for _, unit := range c.vault.Units() {
		if len(c.fromStoreLocked(unit)) > 0 {
			c.settledLocked(unit)
		}
	}
}

// storeFor looks into the fd store of unit if any of names belongs there.
func (c *Coordinator) storeFor(ctx context.Context, unit string, names []string) ([]storeview.Stored, error) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stores, err := c.Units.Stores(ctx, []string{unit})
	if err != nil {
		return nil, fault.New(errorname.NoManager, "see what is in the fd store of %s: %w", unit, err)
	}
	return stores[unit].Entries, nil
}

// arrivedInLocked says which of names are in unit's fd store, as far as they belong there; the
// others are taken at their word.
func (c *Coordinator) arrivedInLocked(unit string, names []string, store []storeview.Stored) (there, missing []string) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return names, nil
	}
	p, all := fdstores.Presence(store), c.vault.Files(unit)
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
