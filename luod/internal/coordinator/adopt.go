package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liveupdate/luod/luod/declaration"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/vault"
	"github.com/liveupdate/luod/luod/wire"
)

// adoptProgram copies the files out of PID 1.
const adoptProgram = "/usr/lib/luod/luod-adopt"

// adoptTimeout bounds it.
const adoptTimeout = 2 * time.Minute

// adoption is what is taken over from the fd stores of units (Preserve=fdstore) for
// one update. PID 1 keeps its own, so an update that is taken back only closes
// these.
type adoption struct {
	// caller is the unit that may hand files over, and units those it may for.
	caller string
	units  map[string]bool
	files  map[string][]*vault.File
	// skipped counts what the vault holds already, and what is left behind.
	skipped map[string]int
	// seen are the names of memfds that came, or for which the vault's stands, by unit;
	// and matched those of the vault's descriptions that stand for what came.
	seen    map[string]map[fileID]string
	matched map[*vault.File]bool
	// directories are the paths that may come packed, by unit.
	directories map[string][]string
	// late are the units whose store is taken over when they have stopped, since
	// PID 1 keeps it and they may still change it.
	late []string
}

func (a *adoption) close() {
	if a == nil {
		return
	}
	for _, files := range a.files {
		for _, f := range files {
			f.F.Close()
		}
	}
	a.files = nil
}

// adopt takes over what is in the fd stores, when everybody is ready; but for those
// that PID 1 keeps while their unit is stopped, which come then.
//
// Killed meanwhile: the copies go with luod, and PID 1 has the originals.
func (c *Coordinator) adopt(u *update) error {
	stores, without, err := c.stores(u.ctx, u.declared, u.options)
	if err != nil {
		return err
	}
	a := &adoption{files: map[string][]*vault.File{}, skipped: map[string]int{}, units: map[string]bool{}, directories: map[string][]string{}}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		if stores[unit].Kept && !stores[unit].Native {
			a.late = append(a.late, unit)
			delete(stores, unit)
		}
	}
	if err := c.inside(u, func() error { u.adoption, u.without = a, without; return nil }); err != nil {
		return err
	}
	return c.takeOver(u, stores, "luod-adopt")
}

// adoptLate takes over the stores of those that were stopped for it.
func (c *Coordinator) adoptLate(u *update) error {
	late := map[string]*declaration.Declaration{}
	for _, unit := range u.adoption.late {
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
	return c.takeOver(u, stores, "luod-adopt-late")
}

// takeOver has the memfds in stores copied by a program that runs as a unit of name.
func (c *Coordinator) takeOver(u *update, stores map[string]pid1.Store, name string) error {
	stores = maps.Clone(stores)
	maps.DeleteFunc(stores, func(_ string, s pid1.Store) bool { return len(s.Entries) == 0 })
	if len(stores) == 0 {
		return nil
	}
	argv := []string{adoptProgram}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		argv = append(argv, argument(unit, stores[unit]))
	}
	caller := fmt.Sprintf("%s-%d.service", name, u.generation)
	a := u.adoption
	if err := c.inside(u, func() error {
		a.caller = caller
		for unit := range stores {
			a.units[unit] = true
		}
		return nil
	}); err != nil {
		return err
	}
	err := c.Units.Run(u.ctx, pid1.Program{
		Unit: caller, Description: fmt.Sprintf("Take Over File Descriptor Stores for Live Update %d", u.generation), Argv: argv, Timeout: adoptTimeout,
	})
	if err != nil {
		return fault("AdoptFailed", "take over the fd stores: %w", err)
	}
	return c.inside(u, func() error {
		for unit, s := range stores {
			if want, got := len(s.Entries), len(a.files[unit])+a.skipped[unit]; got < want {
				return fault("AdoptFailed", "take over the fd store of %s: it has %d entries, and %d came", unit, want, got)
			}
		}
		a.caller = ""
		return nil
	})
}

// adopted are a unit's files for the cargo.
func (u *update) adopted(unit string) []*vault.File {
	if u.adoption == nil {
		return nil
	}
	return u.adoption.files[unit]
}

// settleInterval is how often a unit is looked at that has fetched what goes into
// its fd store, and is starting.
const settleInterval = time.Second

// settled waits until a unit that has fetched what goes into its fd store has
// started, and then lets go of the files: from then on PID 1 keeps them as long as
// the unit wants. If the unit fails, its next start gets them once more.
//
// Killed meanwhile: the next start of luod waits again.
func (c *Coordinator) settled(unit string) {
	c.Clock.AfterFunc(settleInterval, func() {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		running, err := c.Units.Look(ctx, []string{unit})
		if state := running[unit].State; err == nil && state != "active" {
			if running[unit].Runs() {
				c.settled(unit)
			}
			return
		}
		_, _ = do(context.Background(), c, func() (any, error) {
			if err != nil || c.rec.Phase.underway() {
				c.settled(unit)
				return nil, nil
			}
			names := c.fromStore(unit)
			if len(names) == 0 {
				return nil, nil
			}
			if err := c.vault.Remove(c.brief(), unit, names); err != nil {
				c.Log.Warn("could not let go of what is in the unit's fd store again", "unit", unit, "error", err)
			}
			c.Log.Info("the unit has its fd store back", "unit", unit, "count", len(names))
			return nil, c.save()
		})
	})
}

// fromStore are the names of a unit's files that came out of its fd store.
func (c *Coordinator) fromStore(unit string) []string {
	var names []string
	for _, f := range c.vault.Files(unit) {
		if wire.Adopted(f.Name) {
			names = append(names, f.Name)
		}
	}
	return names
}
