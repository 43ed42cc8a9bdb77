package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/intake"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// adoptProgram copies the files out of PID 1.
const adoptProgram = "/usr/lib/luod/luod-adopt"

// adoptTimeout bounds it.
const adoptTimeout = 2 * time.Minute

// adopt takes over what is in the fd stores, when everybody is ready, and holds it:
// whatever stops from then on, luod has it twice, here and in its own fd store.
//
// Killed meanwhile: what is not in the vault yet goes with luod, and PID 1 has the
// originals, since nobody was stopped. What is in the vault the next start lets go of
// when it has seen that PID 1 has it.
func (c *Coordinator) adopt(u *update) error {
	stores, without, err := c.stores(u.ctx, u.declared, u.options)
	if err != nil {
		return err
	}
	running, err := c.Units.Look(u.ctx, slices.Collect(maps.Keys(stores)))
	if err != nil {
		return fault.New(errorname.NoManager, "find out which services run: %w", err)
	}
	a := intake.New(c.Vault, func(unit string) []string {
		if d := u.declared[unit]; d != nil {
			return d.Recreate
		}
		return nil
	})
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		if stores[unit].Kept && !stores[unit].Native && running[unit].State != "inactive" && running[unit].State != "failed" {
			a.Late = append(a.Late, unit)
		}
	}
	if err := c.inside(u, func() error { u.adoption, u.without = a, without; return nil }); err != nil {
		return err
	}
	if err := c.takeOver(u, stores, "luod-adopt"); err != nil {
		return err
	}
	return c.insideHoldings(u, func() error { return c.holdLocked(a, running) })
}

// holdLocked puts what was taken over from fd stores into the vault, and notes of which
// start of its unit it is.
func (c *Coordinator) holdLocked(a *intake.Intake, running map[string]pid1.Running) error {
	var batches []vault.Batch
	for _, unit := range slices.Sorted(maps.Keys(a.Files)) {
		b := vault.Batch{Unit: unit}
		for _, f := range a.Files[unit] {
			if _, packed := entryname.Directory(f.Name); !packed {
				b.Names, b.Files = append(b.Names, f.Name), append(b.Files, f.F)
			}
		}
		if len(b.Names) > 0 {
			batches = append(batches, b)
		}
	}
	if c.Rec.Copied == nil {
		c.Rec.Copied = map[string]record.Copied{}
	}
	var failed []error
	names := map[string][]string{}
	for unit := range a.Units {
		names[unit] = a.Names(unit)
	}
	for i, err := range c.Vault.AddAll(context.Background(), batches) {
		unit := batches[i].Unit
		if err != nil {
			failed = append(failed, fmt.Errorf("hold the fd store of %s: %w", unit, err))
			continue
		}
		a.Files[unit] = slices.DeleteFunc(a.Files[unit], func(f *vault.File) bool { return slices.Contains(batches[i].Names, f.Name) })
		delete(c.Rec.Back, unit) // these are other ones
	}
	for unit := range a.Units {
		if r, is := running[unit]; is {
			c.Rec.Copied[unit] = c.Rec.Copied[unit].And(r.InvocationID, names[unit])
		}
	}
	return errors.Join(append(failed, c.SaveLocked())...)
}

// adoptLate looks once more at the stores of those that PID 1 keeps them for, when they
// have stopped. What came since is taken over too, and what is no longer there must have
// been replaced by something of the same name.
//
// Killed between the two: the vault has both, and a start of the unit gets both.
func (c *Coordinator) adoptLate(u *update) error {
	if len(u.adoption.Late) == 0 {
		return nil
	}
	late := map[string]*unitsection.Section{}
	for _, unit := range u.adoption.Late {
		late[unit] = u.declared[unit]
	}
	stores, without, err := c.stores(u.ctx, late, u.options)
	if err != nil {
		return err
	}
	if err := c.inside(u, func() error {
		u.without = slices.DeleteFunc(u.without, func(l manifest.LeftBehind) bool { return late[l.Unit] != nil })
		u.without = append(u.without, without...)
		return nil
	}); err != nil {
		return err
	}
	if err := c.takeOver(u, stores, "luod-adopt-late"); err != nil {
		return err
	}
	return c.insideHoldings(u, func() error {
		for unit := range late {
			if err := c.supersedeLocked(u.adoption, unit); err != nil {
				return err
			}
		}
		return c.holdLocked(u.adoption, nil)
	})
}

// supersedeLocked gives up what the vault has of a unit's store that the unit has replaced
// since. The error says what went away without that.
func (c *Coordinator) supersedeLocked(a *intake.Intake, unit string) error {
	replaced, err := a.Replaced(unit, c.Rec.Copied[unit].Names)
	if err != nil {
		return err
	}
	if len(replaced) == 0 {
		return nil
	}
	return c.Vault.Remove(context.Background(), unit, replaced)
}

// takeOver has the memfds in stores copied by a program that runs as a unit of name.
func (c *Coordinator) takeOver(u *update, stores map[string]pid1.Store, name string) error {
	stores = maps.Clone(stores)
	maps.DeleteFunc(stores, func(_ string, s pid1.Store) bool { return len(s.Entries) == 0 })
	if len(stores) == 0 {
		return c.inside(u, func() error { u.adoption.Begin("", nil); return nil })
	}
	argv := []string{adoptProgram}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		argv = append(argv, fdstores.Argument(unit, stores[unit]))
	}
	caller := fmt.Sprintf("%s-%d.service", name, u.generation)
	a := u.adoption
	// Whoever is giving up something of these stores has done so before, and from here on
	// nobody does.
	if err := c.insideHoldings(u, func() error {
		a.Begin(caller, stores)
		c.Copying = a.Units
		return nil
	}); err != nil {
		return err
	}
	err := c.Units.Run(u.ctx, pid1.Program{
		Unit: caller, Description: fmt.Sprintf("Take Over File Descriptor Stores for Live Update %d", u.generation), Argv: argv, Timeout: adoptTimeout,
	})
	if err != nil {
		return fault.New(errorname.AdoptFailed, "take over the fd stores: %w", err)
	}
	return c.inside(u, func() error {
		for unit, s := range stores {
			if want, got := len(s.Entries), len(a.Files[unit])+a.Skipped[unit]; got < want {
				return fault.New(errorname.AdoptFailed, "take over the fd store of %s: it has %d entries, and %d came", unit, want, got)
			}
		}
		a.Caller = ""
		return nil
	})
}

// adopted are a unit's files for the cargo that are not in the vault.
func (u *update) adopted(unit string) []*vault.File {
	if u.adoption == nil {
		return nil
	}
	return u.adoption.Files[unit]
}
