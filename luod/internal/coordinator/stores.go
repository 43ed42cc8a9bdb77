package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// stores asks PID 1 for the fd stores that are to come along, and refuses what no
// kernel can carry and nobody makes anew, unless its unit lets the update go on
// without. The stores have only the entries that luod takes over: not those that are
// left behind, nor what PID 1 carries by itself. It works without the
// lock.
func (c *Coordinator) stores(ctx context.Context, declared map[string]*unitsection.Section, options record.Options) (map[string]pid1.Store, []manifest.LeftBehind, error) {
	ctx, cancel := context.WithTimeout(ctx, state.AskTimeout)
	defer cancel()
	var units []string
	for unit, d := range declared {
		if d.Store {
			units = append(units, unit)
		}
	}
	slices.Sort(units)
	stores, err := c.Units.Stores(ctx, units)
	if err != nil {
		return nil, nil, fault.New(errorname.NoManager, "look into the fd stores: %w", err)
	}
	if err := c.shared(ctx, stores); err != nil {
		return nil, nil, err
	}
	var without []manifest.LeftBehind
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		s := stores[unit]
		if most := declared[unit].StoreMax; most != nil && s.Count > *most {
			return nil, nil, fault.New(errorname.WouldNotFit, "no live update is possible: the fd store of %s has %d entries, and by its unit files the next start has room for %d (FileDescriptorStoreMax=); raise it", unit, s.Count, *most)
		}
		s.Native = s.Native && !options.Fast // a fast jump leaves PID 1 out
		sorted := fdstores.Sort(s, declared[unit].Recreate)
		s.Entries = sorted.Taken
		stores[unit] = s
		if len(s.Entries) == 0 && (s.Native || !s.Kept) {
			delete(stores, unit)
		}
		if len(sorted.Spoilt) > 0 {
			spoilt := strings.Join(sorted.Spoilt, ", ")
			if !declared[unit].Optional {
				return nil, nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: PID 1 carries the fd store of %s itself, and would not bring it back as it is: %s; with FileDescriptorStorePreserve=restart in its unit file luod carries it, and with OnFailure=ignore an update goes on anyway", unit, spoilt)
			}
			without = append(without, manifest.LeftBehind{Unit: unit, Reason: "of its fd store, PID 1 does not carry as it is: " + spoilt})
		}
		if len(sorted.Lost) == 0 {
			continue
		}
		lost := strings.Join(sorted.Lost, ", ")
		if !declared[unit].Optional {
			hint := ""
			if len(sorted.Help) > 0 {
				hint = fmt.Sprintf("; with Recreate=%s in its unit file they are made anew, see luod(8)", strings.Join(sorted.Help, " "))
			}
			return nil, nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: the fd store of %s holds what no kernel carries: %s%s; with OnFailure=ignore in its unit file an update goes on without", unit, lost, hint)
		}
		without = append(without, manifest.LeftBehind{Unit: unit, Reason: fdstores.Forgoing + lost})
	}
	more, err := c.reissuable(ctx, declared, stores)
	if err != nil {
		return nil, nil, err
	}
	return stores, append(without, more...), nil
}

// shared refuses a memfd that is in the stores of two units, or in one's and in the
// vault for another: the kernel preserves a file once, and it would be given to one
// of them alone.
func (c *Coordinator) shared(ctx context.Context, stores map[string]pid1.Store) error {
	type holder struct{ unit, name string }
	first := map[fileid.ID]holder{}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		for _, e := range stores[unit].Entries {
			id := fileid.ID{Device: e.Device, Inode: e.Inode}
			h, is := first[id]
			switch {
			case !e.Memfd:
			case !is:
				first[id] = holder{unit, e.Name}
			case h.unit != unit:
				return fault.New(errorname.FileInUse, "no live update is possible: %q in the fd store of %s and %q in that of %s are the same memfd, which the kernel preserves once; one of them has to be without it", h.name, h.unit, e.Name, unit)
			}
		}
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for id, h := range first {
		if f := c.Vault.Holder(id); f != nil && f.Unit != h.unit {
			return fault.New(errorname.FileInUse, "no live update is possible: %q in the fd store of %s and %q of %s, which luod holds, are the same memfd, which the kernel preserves once; one of them has to be without it", h.name, h.unit, f.Name, f.Unit)
		}
	}
	return nil
}
