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
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// adoptProgram copies the files out of PID 1.
const adoptProgram = "/usr/lib/luod/luod-adopt"

// adoptTimeout bounds it.
const adoptTimeout = 2 * time.Minute

// adoption is what is taken over from the fd stores of units (Preserve=fdstore) for
// one update. PID 1 drops its own when a unit stops, so all of it is in the vault before
// the first one is stopped.
type adoption struct {
	// caller is the unit that may hand files over, and units those it may for.
	caller string
	units  map[string]bool
	// files are those that came and are not in the vault yet; packed directories stay
	// here.
	files map[string][]*vault.File
	// skipped counts what the vault holds already, and what is left behind.
	skipped map[string]int
	// seen are the names of memfds that came, or for which the vault's stands, by unit;
	// and matched those of the vault's descriptions that stand for what came.
	seen    map[string]map[fdstores.FileID]string
	matched map[*vault.File]bool
	// directories are the paths that may come packed, by unit.
	directories map[string][]string
	// late are the units that PID 1 keeps the store of while they are stopped, and
	// that may still change it when they do: it is looked at once more then.
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

// begin forgets what came of units before, but for directories.
func (a *adoption) begin(caller string, units map[string]pid1.Store) {
	a.caller = caller
	a.skipped, a.seen, a.matched = map[string]int{}, nil, nil
	for unit := range units {
		a.units[unit] = true
	}
}

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
	a := &adoption{files: map[string][]*vault.File{}, skipped: map[string]int{}, units: map[string]bool{}, directories: map[string][]string{}}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		if stores[unit].Kept && !stores[unit].Native && running[unit].State != "inactive" && running[unit].State != "failed" {
			a.late = append(a.late, unit)
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
func (c *Coordinator) holdLocked(a *adoption, running map[string]pid1.Running) error {
	var batches []vault.Batch
	for _, unit := range slices.Sorted(maps.Keys(a.files)) {
		b := vault.Batch{Unit: unit}
		for _, f := range a.files[unit] {
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
	for unit := range a.units {
		names[unit] = a.names(c, unit)
	}
	for i, err := range c.Vault.AddAll(context.Background(), batches) {
		unit := batches[i].Unit
		if err != nil {
			failed = append(failed, fmt.Errorf("hold the fd store of %s: %w", unit, err))
			continue
		}
		a.files[unit] = slices.DeleteFunc(a.files[unit], func(f *vault.File) bool { return slices.Contains(batches[i].Names, f.Name) })
		delete(c.Rec.Back, unit) // these are other ones
	}
	for unit := range a.units {
		if r, is := running[unit]; is {
			c.Rec.Copied[unit] = c.Rec.Copied[unit].And(r.InvocationID, names[unit])
		}
	}
	return errors.Join(append(failed, c.SaveLocked())...)
}

// names are luod's of what is in a unit's store: what came, and what of the vault stands
// for the rest.
func (a *adoption) names(c *Coordinator, unit string) []string {
	names := slices.Collect(maps.Values(a.seen[unit]))
	for _, f := range c.Vault.Files(unit) {
		if a.matched[f] {
			names = append(names, f.Name)
		}
	}
	for _, f := range a.files[unit] {
		names = append(names, f.Name)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, packed := entryname.Directory(name)
		return packed || !entryname.Adopted(name)
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// adoptLate looks once more at the stores of those that PID 1 keeps them for, when they
// have stopped. What came since is taken over too, and what is no longer there must have
// been replaced by something of the same name.
//
// Killed between the two: the vault has both, and a start of the unit gets both.
func (c *Coordinator) adoptLate(u *update) error {
	if len(u.adoption.late) == 0 {
		return nil
	}
	late := map[string]*unitsection.Section{}
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
func (c *Coordinator) supersedeLocked(a *adoption, unit string) error {
	came := map[string]int{}
	for _, f := range a.files[unit] {
		came[entryname.PlainName(f.Name)]++
	}
	stands := map[string]bool{}
	for _, name := range a.seen[unit] {
		stands[name] = true
	}
	var replaced []string
	for _, f := range c.Vault.Files(unit) {
		_, packed := entryname.Directory(f.Name)
		if !entryname.Adopted(f.Name) || packed || stands[f.Name] || a.matched[f] {
			continue
		}
		if !slices.Contains(c.Rec.Copied[unit].Names, f.Name) {
			continue // it waits for the unit since an earlier start, and comes along
		}
		plain := entryname.PlainName(f.Name)
		if came[plain] == 0 {
			return fault.New(errorname.StoreChanged, "%q was in the fd store of %s, and was gone when the unit had stopped: either the unit removed it, or PID 1 has forgotten its store (systemd 254 to 260 do so with units that nothing refers to); luod holds it, and a start of the unit gets it", plain, unit)
		}
		came[plain]--
		replaced = append(replaced, f.Name)
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
		return c.inside(u, func() error { u.adoption.begin("", nil); return nil })
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
		a.begin(caller, stores)
		c.Copying = a.units
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
			if want, got := len(s.Entries), len(a.files[unit])+a.skipped[unit]; got < want {
				return fault.New(errorname.AdoptFailed, "take over the fd store of %s: it has %d entries, and %d came", unit, want, got)
			}
		}
		a.caller = ""
		return nil
	})
}

// adopted are a unit's files for the cargo that are not in the vault.
func (u *update) adopted(unit string) []*vault.File {
	if u.adoption == nil {
		return nil
	}
	return u.adoption.files[unit]
}
