package coordinator

import (
	"context"
	"maps"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
)

// natives lists what PID 1 carries by itself of the stores that come along, so that
// the next kernel's luod can account for it; what luod holds comes with luod, and the
// kernel doesn't take it from PID 1 too.
func (c *Coordinator) natives(u *update) ([]manifest.Native, error) {
	var units []string
	for unit, d := range u.declared {
		if d.Store {
			units = append(units, unit)
		}
	}
	if len(units) == 0 || u.options.Fast {
		return nil, nil
	}
	slices.Sort(units)
	ctx, cancel := context.WithTimeout(u.ctx, state.AskTimeout)
	defer cancel()
	stores, err := c.Units.Stores(ctx, units)
	if err != nil {
		return nil, fault.New(errorname.NoManager, "look into the fd stores that PID 1 carries: %w", err)
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	return c.carriedByPID1Locked(stores), nil
}

func (c *Coordinator) carriedByPID1Locked(stores map[string]pid1.Store) []manifest.Native {
	var list []manifest.Native
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		if !stores[unit].Native {
			continue
		}
		n := manifest.Native{Unit: unit}
		seen := map[fileid.ID]bool{} // what comes through once is left behind otherwise
		for _, e := range stores[unit].Entries {
			id := fileid.ID{Device: e.Device, Inode: e.Inode}
			if !e.Carried() || seen[id] || e.Memfd && c.Vault.Holder(fileid.ID{Device: e.Device, Inode: e.Inode}) != nil {
				continue
			}
			n.Names = append(n.Names, e.Name)
			seen[id] = e.Memfd
		}
		if len(n.Names) > 0 {
			list = append(list, n)
		}
	}
	return list
}
