package coordinator

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
)

// packTimeout bounds the packing: 100 MiB take about 0.1 s on a slow machine.
const packTimeout = 10 * time.Minute

// putAside has abort find what was packed.
func (c *Coordinator) putAside(result *packer.Packed) {
	if unlock, err := c.Lock(context.Background()); err == nil {
		c.outgoing = result
		unlock()
	}
}

// beginLocked starts packing; everybody is ready.
func (c *Coordinator) beginLocked(u *update) (packer.Cargo, error) {
	if err := c.withinLimitsLocked(); err != nil {
		return packer.Cargo{}, err
	}
	cargo := packer.Cargo{
		Verify: u.options.Verify, Now: c.Clock.Now,
		Manifest: manifest.Manifest{
			Generation: u.generation, OldKernel: c.Machine.Release, OldBootID: c.Machine.BootID, Native: u.native,
		},
	}
	for _, s := range u.barrier.Standings() {
		if s.State == barrier.Failed {
			c.Rec.LeftBehind = append(c.Rec.LeftBehind, manifest.LeftBehind{Unit: s.Unit, Reason: s.Reason})
			c.Log.Warn("the live update goes on without a service", "unit", s.Unit, "reason", s.Reason, catalog.MessageID, catalog.LeftBehind)
		}
	}
	c.Rec.LeftBehind = append(c.Rec.LeftBehind, u.without...)
	cargo.Manifest.LeftBehind = c.Rec.LeftBehind
	// What still lies in an incoming session can't go into an outgoing one
	// (EBUSY); the vault holds it, so the session may go.
	c.FinishAllLocked()
	c.MarkLocked("prepared", c.Clock.Now())
	if err := c.MoveLocked(phase.Prepared); err != nil {
		return packer.Cargo{}, fault.New(errorname.NoRecord, "pack: %w", err)
	}
	cargo.Units = c.cargoLocked(u)
	var err error
	// To look at all of it may take a while.
	files := filesOf(cargo.Units)
	c.Apart(func() { cargo.Superset, err = c.room(files) })
	if err != nil {
		return packer.Cargo{}, err
	}
	cargo.Manifest.TimeLine = append(cargo.Manifest.TimeLine, c.Rec.TimeLine...)
	c.Log.Info("packing", "generation", cargo.Manifest.Generation, "units", len(cargo.Units))
	return cargo, nil
}

// cargoLocked is what goes along, first the units that are prepared last, since they
// shall be restored first. Left out is who failed.
func (c *Coordinator) cargoLocked(u *update) []packer.Unit {
	var units []packer.Unit
	add := func(name string) {
		files, sessions := slices.Concat(c.Vault.Files(name), u.adopted(name)), c.OutgoingOfLocked(name)
		if len(files)+len(sessions) > 0 {
			d := u.declared[name]
			units = append(units, packer.Unit{Name: name, Files: files, Sessions: sessions, Verify: d != nil && d.Verify})
		}
	}
	// Who is ready may be among the left behind for a part of what it has.
	for _, s := range slices.Backward(u.barrier.Standings()) {
		if s.State != barrier.Failed {
			add(s.Unit)
		}
	}
	others := append(c.Vault.Units(), c.UnitsLocked()...)
	if u.adoption != nil {
		others = slices.AppendSeq(others, maps.Keys(u.adoption.Units))
	}
	slices.Sort(others)
	for _, name := range slices.Compact(others) {
		if u.members[name] == nil {
			add(name)
		}
	}
	return units
}
