package coordinator

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/wire"
)

// stopFirst stops the units whose directories come along (Directories=), and those
// whose fd store PID 1 keeps while they are stopped, when everybody is ready, and
// takes what is there then. What PID 1 drops when the others stop, the vault takes
// first.
//
// Killed before the units are stopped: the vault has more than it needs, and a start
// of the unit gets it. Killed after: the next start of luod starts them again, PID 1
// has the stores, and the directories are where they were.
func (c *Coordinator) stopFirst(u *update) error {
	concerned := map[string][]string{}
	for unit, d := range u.declared {
		if len(d.Directories) > 0 {
			concerned[unit] = d.Directories
		}
	}
	units := slices.Sorted(maps.Keys(concerned))
	for _, unit := range u.adoption.late {
		if concerned[unit] == nil {
			units = append(units, unit)
		}
	}
	if len(units) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(u.ctx, c.Settings.StopTimeout)
	defer cancel()
	before, err := c.Units.Active(ctx)
	if err != nil {
		return fault("NoManager", "find out what runs: %w", err)
	}
	if err := c.inside(u, func() error {
		for _, unit := range units {
			if err := c.hold(unit, u.adoption); err != nil {
				return err
			}
		}
		u.halted = append(u.halted, units...)
		c.rec.Stopped = slices.Compact(slices.Sorted(slices.Values(slices.Concat(before, units))))
		if err := c.save(); err != nil {
			c.rec.Stopped = nil
			return fault("NoRecord", "stop the services: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.Units.Stop(ctx, units); err != nil {
		return fault("StopFailed", "stop the services whose directories or fd stores come along: %w", err)
	}
	if err := c.adoptLate(u); err != nil {
		return err
	}
	return c.packDirectories(u, concerned)
}

// packDirectories has the directories of units that have stopped packed.
func (c *Coordinator) packDirectories(u *update, concerned map[string][]string) error {
	if len(concerned) == 0 {
		return nil
	}
	caller := fmt.Sprintf("luod-adopt-directories-%d.service", u.generation)
	if err := c.inside(u, func() error {
		a := u.adoption
		a.caller, a.directories = caller, concerned
		for unit := range concerned {
			a.units[unit] = true
		}
		return nil
	}); err != nil {
		return err
	}
	argv := []string{adoptProgram, "--directories"}
	for _, unit := range slices.Sorted(maps.Keys(concerned)) {
		for _, path := range concerned[unit] {
			argv = append(argv, unit+"="+path)
		}
	}
	if err := c.Units.Run(u.ctx, pid1.Program{
		Unit: caller, Description: fmt.Sprintf("Pack Directories for Live Update %d", u.generation), Argv: argv, Timeout: c.Settings.StopTimeout,
	}); err != nil {
		return fault("AdoptFailed", "pack directories: %w", err)
	}
	return c.inside(u, func() error {
		u.adoption.caller = ""
		for unit, paths := range concerned {
			for _, path := range paths {
				if !slices.Contains(u.adoptedNames(unit), wire.DirectoryName(path)) {
					return fault("AdoptFailed", "pack the directory %s of %s: it did not come", path, unit)
				}
			}
		}
		return nil
	})
}

// hold puts what was adopted for a unit into the vault.
func (c *Coordinator) hold(unit string, a *adoption) error {
	var names []string
	var files []*os.File
	for _, f := range a.files[unit] {
		names, files = append(names, f.Name), append(files, f.F)
	}
	if len(names) == 0 {
		return nil
	}
	if err := c.vault.Add(c.brief(), unit, names, files); err != nil {
		return fmt.Errorf("hold the fd store of %s: %w", unit, err)
	}
	delete(a.files, unit)
	return nil
}

func (u *update) adoptedNames(unit string) []string {
	var names []string
	for _, f := range u.adopted(unit) {
		names = append(names, f.Name)
	}
	return names
}
