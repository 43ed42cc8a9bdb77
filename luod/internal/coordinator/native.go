package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/restorer"
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
	ctx, cancel := context.WithTimeout(u.ctx, askTimeout)
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
		seen := map[fdstores.FileID]bool{} // what comes through once is left behind otherwise
		for _, e := range stores[unit].Entries {
			id := fdstores.FileID{e.Device, e.Inode}
			if !e.Carried() || seen[id] || e.Memfd && c.vault.Holder(e.Device, e.Inode) != nil {
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

// accountLocked looks whether PID 1 has brought back what it carried. Units that have
// started by then may have taken something out of their stores themselves, so it looks
// at once; PID 1 had everything before it started luod.
//
// Killed before it has looked: the report says "unknown", and the next start looks.
func (c *Coordinator) accountLocked() {
	if c.recent == nil {
		return
	}
	units := map[string]bool{}
	for _, f := range c.recent.Files {
		if f.Outcome == report.Unknown {
			units[f.Unit] = true
		}
	}
	if len(units) == 0 {
		return
	}
	c.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
		defer cancel()
		stores, err := c.Units.Stores(ctx, slices.Sorted(maps.Keys(units)))
		if err != nil {
			c.Log.Error("could not find out whether PID 1 has brought back what it carries", "error", err)
			return
		}
		unlock, err := c.Lock(context.Background())
		if err != nil {
			return
		}
		defer unlock()
		c.broughtBackLocked(stores)
	})
}

// broughtBackLocked notes what PID 1 has of what it carried, and that the rest is lost.
func (c *Coordinator) broughtBackLocked(stores map[string]pid1.Store) {
	back := map[string][]string{}
	for unit, s := range stores {
		for _, e := range s.Entries {
			back[unit] = append(back[unit], e.Name)
		}
	}
	for i, f := range c.recent.Files {
		if f.Outcome != report.Unknown {
			continue
		}
		if at := slices.Index(back[f.Unit], f.Name); at >= 0 {
			back[f.Unit] = slices.Delete(back[f.Unit], at, at+1)
			c.recent.Files[i].Outcome = "preserved"
			continue
		}
		l := restorer.Loss{Unit: f.Unit, Name: f.Name, Reason: fmt.Sprintf("%s carried it and did not bring it back into the fd store", report.ByPID1)}
		c.recent.Files[i].Outcome, c.recent.Files[i].Reason = "lost", l.Reason
		c.Rec.Lost = append(c.Rec.Lost, l)
		c.Log.Error("a file descriptor did not come through the live update", "unit", l.Unit, "name", l.Name, "reason", l.Reason, catalog.MessageID, catalog.Lost)
	}
	c.noteReportLocked(c.recent)
	if c.Rec.Phase == phase.Idle {
		c.archiveLocked()
	}
	_ = c.SaveLocked()
}
