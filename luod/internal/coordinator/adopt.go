package coordinator

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/liveupdate/luod/luod/declaration"
	"github.com/liveupdate/luod/luod/fdstore"
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
	// skipped counts what the vault holds already.
	skipped map[string]int
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

// stores asks PID 1 for the fd stores that are to come along, and refuses what no
// kernel can carry, unless its unit lets the update go on without. It works outside
// of the coordinator's goroutine.
func (c *Coordinator) stores(ctx context.Context, declared map[string]*declaration.Declaration, options Options) (map[string]pid1.Store, []manifest.LeftBehind, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
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
		return nil, nil, fault("NoManager", "look into the fd stores: %w", err)
	}
	var without []manifest.LeftBehind
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		s := stores[unit]
		if s.Native && !options.Fast {
			delete(stores, unit) // the same file can't be preserved twice
			continue
		}
		var lost []string
		for _, e := range s.Entries {
			if !e.Memfd {
				lost = append(lost, fmt.Sprintf("%q (%s)", e.Name, e.Path))
			}
		}
		if len(lost) == 0 {
			continue
		}
		if !declared[unit].Optional {
			return nil, nil, fault("WouldNotSurvive", "no live update is possible: the fd store of %s holds what no kernel carries: %s; with OnFailure=ignore in its unit file an update goes on without", unit, strings.Join(lost, ", "))
		}
		without = append(without, manifest.LeftBehind{Unit: unit, Reason: "of its fd store, without what no kernel carries: " + strings.Join(lost, ", ")})
	}
	return stores, without, nil
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
		if stores[unit].Kept {
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
	argv := []string{adoptProgram}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		if slices.ContainsFunc(stores[unit].Entries, fdstore.IsMemfd) {
			argv = append(argv, unit)
		}
	}
	units := argv[1:]
	if len(units) == 0 {
		return nil
	}
	caller := fmt.Sprintf("%s-%d.service", name, u.generation)
	a := u.adoption
	if err := c.inside(u, func() error {
		a.caller = caller
		for _, unit := range units {
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
		for _, unit := range units {
			want := 0
			for _, e := range stores[unit].Entries {
				if e.Memfd {
					want++
				}
			}
			if got := len(a.files[unit]) + a.skipped[unit]; got < want {
				return fault("AdoptFailed", "take over the fd store of %s: it has %d memfds, and %d came", unit, want, got)
			}
		}
		a.caller = ""
		return nil
	})
}

// Adopt takes files over that were copied out of unit's fd store, in the order in
// which they are to be pushed again. On success the coordinator owns them; on an
// error the caller does.
func (c *Coordinator) Adopt(ctx context.Context, caller, unit string, names []string, files []*os.File) error {
	_, err := do(ctx, c, func() (any, error) {
		u := c.update
		if u == nil || u.adoption == nil || caller == "" || u.adoption.caller != caller || !u.adoption.units[unit] || u.ctx.Err() != nil {
			return nil, fault("NotPreparing", "%s may not hand over what belongs to %s", caller, unit)
		}
		if len(names) != len(files) {
			return nil, fault("BadRequest", "%d names were given for %d file descriptors", len(names), len(files))
		}
		a := u.adoption
		for i, f := range files {
			if _, err := vault.Look(f); err != nil {
				return nil, fmt.Errorf("take over %q of %s: %w", names[i], unit, err)
			}
		}
		for _, name := range names {
			if path, is := wire.Directory(name); is && !slices.Contains(a.directories[unit], path) {
				return nil, fault("NotPreparing", "%s may not hand over the directory %s of %s", caller, path, unit)
			}
		}
		for i, f := range files {
			_, packed := wire.Directory(names[i])
			switch {
			case packed:
				a.files[unit] = append(a.files[unit], &vault.File{Unit: unit, Name: names[i], F: f})
			case c.vault.Holds(f):
				a.skipped[unit]++
				f.Close()
			default:
				name := ""
				for n := len(a.files[unit]); ; n++ {
					name = wire.StoreName(n, names[i])
					if _, err := c.vault.Select(unit, []string{name}); err != nil && !slices.ContainsFunc(a.files[unit], func(o *vault.File) bool { return o.Name == name }) {
						break
					}
				}
				a.files[unit] = append(a.files[unit], &vault.File{Unit: unit, Name: name, F: f})
			}
		}
		return nil, nil
	})
	return err
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
