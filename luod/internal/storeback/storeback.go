package storeback

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

// Units is what PID 1 says of services.
type Units interface {
	// Look tells of each of these whether it runs.
	Look(ctx context.Context, units []string) (map[string]pid1.Running, error)
	// Stores tells what is in their fd stores.
	Stores(ctx context.Context, units []string) (map[string]pid1.Store, error)
}

// Watcher watches units.
type Watcher struct {
	state *state.State
	// Units is who is asked; tests put others in its place.
	Units Units
	vault *vault.Vault
	// watched are the units that are to be looked at, with how often that was asked for and
	// how often they were started meanwhile.
	watched map[string]uint64
}

// New watches nobody.
func New(s *state.State, units Units, v *vault.Vault) *Watcher {
	return &Watcher{state: s, Units: units, vault: v, watched: map[string]uint64{}}
}

// Interval is how often a unit is looked at that has, or is about to have, what
// goes into its fd store.
const Interval = time.Second

// WatchLocked waits until a unit has back what came out of its fd store, and runs, and then
// lets go of the files: from then on PID 1 keeps them as long as the unit wants. If its
// start fails, the next one gets them once more.
//
// However often it is called, each unit is looked at once in an interval.
//
// Killed meanwhile: the next start of luod waits again.
func (w *Watcher) WatchLocked(unit string) {
	n, waits := w.watched[unit]
	w.watched[unit] = n + 1
	if !waits {
		w.state.Clock.AfterFunc(Interval, func() { w.lookWhether(unit) })
	}
}

// lookWhether looks whether unit has its store. What it sees says
// nothing if the unit was started meanwhile.
func (w *Watcher) lookWhether(unit string) {
	unlock, err := w.state.Lock(context.Background())
	if err != nil {
		return
	}
	before := w.watched[unit]
	unlock()
	ctx, cancel := context.WithTimeout(context.Background(), state.AskTimeout)
	defer cancel()
	running, err := w.Units.Look(ctx, []string{unit})
	var stores map[string]pid1.Store
	if err == nil && running[unit].Runs() {
		stores, err = w.Units.Stores(ctx, []string{unit})
	}
	unlock, stopped := w.state.LockHoldings(context.Background())
	if stopped != nil {
		return
	}
	defer unlock()
	stale := w.watched[unit] != before
	delete(w.watched, unit)
	held := w.fromStoreLocked(unit)
	switch is := running[unit]; {
	case len(held) == 0:
		return
	case err == nil && !stale && !is.Runs():
		return // its next start begins anew
	case err != nil || stale || w.state.Rec.Phase.Underway() || is.State != "active":
		w.WatchLocked(unit)
		return
	}
	had := fdstores.Origin{Back: w.state.Rec.Back[unit]}
	if copied := w.state.Rec.Copied[unit]; copied.Start != "" && copied.Start == running[unit].InvocationID {
		had.Copied = copied.Names
	}
	w.letGoLocked(unit, held, had.Dispensable(held, w.vault.Files(unit), stores[unit].Entries))
	_ = w.state.SaveLocked()
}

// Starting notes that unit is being started: what PID 1 had for an earlier start it may
// have dropped since.
//
// Killed before it is written down: luod-reissue goes on only if PID 1 has everything.
func (w *Watcher) Starting(ctx context.Context, unit string) error {
	unlock, err := w.state.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if n, waits := w.watched[unit]; waits {
		w.watched[unit] = n + 1
	}
	if _, is := w.state.Rec.Back[unit]; is {
		delete(w.state.Rec.Back, unit)
		_ = w.state.SaveLocked()
	}
	return nil
}

// letGoLocked gives up names, of what is held of a unit's store.
func (w *Watcher) letGoLocked(unit string, held []*vault.File, names []string) {
	if len(names) < len(held) {
		w.state.Log.Warn("luod keeps what it has not seen in the unit's fd store; the unit's next start gets it, and 'luoctl discard' gives it up", "unit", unit, "count", len(held)-len(names))
	}
	if len(names) == 0 {
		return
	}
	if err := w.vault.Remove(context.Background(), unit, names); err != nil {
		w.state.Log.Warn("could not let go of what is in the unit's fd store again", "unit", unit, "error", err)
		return
	}
	if len(names) == len(held) {
		delete(w.state.Rec.Back, unit)
		delete(w.state.Rec.Copied, unit)
	}
	w.state.Log.Info("the unit has its fd store back", "unit", unit, "count", len(names))
}

// fromStoreLocked are a unit's files that came out of its fd store, or are a directory of
// its.
func (w *Watcher) fromStoreLocked(unit string) []*vault.File {
	return slices.DeleteFunc(w.vault.Files(unit), func(f *vault.File) bool { return !entryname.Adopted(f.Name) })
}

// WatchAllLocked waits for every unit of which luod has what belongs into its fd store.
func (w *Watcher) WatchAllLocked() {
	for _, unit := range w.vault.Units() {
		if len(w.fromStoreLocked(unit)) > 0 {
			w.WatchLocked(unit)
		}
	}
}

// StoreFor looks into the fd store of unit if any of names belongs there.
func (w *Watcher) StoreFor(ctx context.Context, unit string, names []string) ([]storeview.Stored, error) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, state.AskTimeout)
	defer cancel()
	stores, err := w.Units.Stores(ctx, []string{unit})
	if err != nil {
		return nil, fault.New(errorname.NoManager, "see what is in the fd store of %s: %w", unit, err)
	}
	return stores[unit].Entries, nil
}

// ThereLocked says which of names are in unit's fd store, as far as they belong there; the
// others are taken at their word.
func (w *Watcher) ThereLocked(unit string, names []string, store []storeview.Stored) (there, missing []string) {
	if !slices.ContainsFunc(names, entryname.Adopted) {
		return names, nil
	}
	p, all := fdstores.Presence(store), w.vault.Files(unit)
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

// NoteLocked notes which of a unit's entries PID 1 had for the start that is under way.
func (w *Watcher) NoteLocked(unit string, names []string) {
	back := slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !entryname.Adopted(name) })
	if len(back) == 0 {
		return
	}
	if w.state.Rec.Back == nil {
		w.state.Rec.Back = map[string][]string{}
	}
	w.state.Rec.Back[unit] = slices.Compact(slices.Sorted(slices.Values(append(back, w.state.Rec.Back[unit]...))))
}
