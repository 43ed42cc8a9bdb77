package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
)

// stopFirst stops the units whose directories come along (Directories=), and those
// whose fd store PID 1 keeps while they are stopped, when everybody is ready, and
// looks at what is there then. The vault has had the stores since before.
//
// Killed before the units are stopped: the vault has more than it needs, and lets go of
// it. Killed after: the next start of luod starts them again, their starts get what
// PID 1 has dropped, and the directories are where they were.
func (c *Coordinator) stopFirst(u *update) error {
	concerned := map[string][]string{}
	for unit, d := range u.declared {
		if len(d.Directories) > 0 {
			concerned[unit] = d.Directories
		}
	}
	if err := c.lookAtDirectories(u, concerned); err != nil {
		return err
	}
	units := slices.Sorted(maps.Keys(concerned))
	for _, unit := range u.adoption.Late {
		if concerned[unit] == nil {
			units = append(units, unit)
		}
	}
	if len(units) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(u.ctx, c.Settings.StopTimeout)
	defer cancel()
	running, err := c.Units.Look(ctx, units)
	if err != nil {
		return fault.New(errorname.NoManager, "find out which services run: %w", err)
	}
	before, err := c.Units.Active(ctx, units)
	if err != nil {
		return fault.New(errorname.NoManager, "find out what runs: %w", err)
	}
	for _, unit := range units {
		if running[unit].Runs() {
			before = append(before, unit)
		}
	}
	if len(u.adoption.Late) > 0 {
		defer c.unpin()
		if err := c.Units.Pin(ctx, u.adoption.Late); err != nil {
			return fault.New(errorname.NoManager, "have PID 1 keep the fd stores of units that stop: %w", err)
		}
	}
	if err := c.inside(u, func() error {
		u.halted = append(u.halted, units...)
		c.Rec.Stopped = before
		if err := c.SaveLocked(); err != nil {
			c.Rec.Stopped = nil
			return fault.New(errorname.NoRecord, "stop the services: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.Units.Stop(ctx, units); err != nil {
		return fault.New(errorname.StopFailed, "stop the services whose directories or fd stores come along: %w", err)
	}
	if err := c.adoptLate(u); err != nil {
		return err
	}
	return c.packDirectories(u, concerned)
}

// lookAtDirectories refuses what could not be packed, while nobody was stopped for it. Of
// a unit that doesn't run it leaves out what isn't there: the unit makes it when it
// starts.
func (c *Coordinator) lookAtDirectories(u *update, concerned map[string][]string) error {
	if len(concerned) == 0 {
		return nil
	}
	units := slices.Sorted(maps.Keys(concerned))
	running, err := c.Units.Look(u.ctx, units)
	if err != nil {
		return fault.New(errorname.NoManager, "find out which services run: %w", err)
	}
	for _, unit := range units {
		if running[unit].Runs() {
			continue
		}
		concerned[unit] = slices.DeleteFunc(slices.Clone(concerned[unit]), func(path string) bool {
			_, err := os.Lstat(path)
			return errors.Is(err, fs.ErrNotExist)
		})
		if len(concerned[unit]) == 0 {
			delete(concerned, unit)
		}
	}
	if len(concerned) == 0 {
		return nil
	}
	if err := c.Units.Run(u.ctx, pid1.Program{
		Unit: fmt.Sprintf("luod-adopt-check-%d.service", u.generation), Description: fmt.Sprintf("Look at Directories for Live Update %d", u.generation),
		Argv: directoriesOf("--check-directories", concerned), Timeout: adoptTimeout, ReadsOnly: true,
	}); err != nil {
		return fault.New(errorname.AdoptFailed, "pack directories: %w", err)
	}
	return nil
}

// directoriesOf is the command line about directories.
func directoriesOf(verb string, concerned map[string][]string) []string {
	argv := []string{adoptProgram, verb}
	for _, unit := range slices.Sorted(maps.Keys(concerned)) {
		for _, path := range concerned[unit] {
			argv = append(argv, unit+"="+path)
		}
	}
	return argv
}

// packDirectories has the directories of units that have stopped packed.
func (c *Coordinator) packDirectories(u *update, concerned map[string][]string) error {
	if len(concerned) == 0 {
		return nil
	}
	caller := fmt.Sprintf("luod-adopt-directories-%d.service", u.generation)
	if err := c.inside(u, func() error {
		a := u.adoption
		a.Caller, a.Directories = caller, concerned
		for unit := range concerned {
			a.Units[unit] = true
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.Units.Run(u.ctx, pid1.Program{
		Unit: caller, Description: fmt.Sprintf("Pack Directories for Live Update %d", u.generation), Argv: directoriesOf("--directories", concerned), Timeout: c.Settings.StopTimeout, ReadsOnly: true,
	}); err != nil {
		return fault.New(errorname.AdoptFailed, "pack directories: %w", err)
	}
	return c.inside(u, func() error {
		u.adoption.Caller = ""
		for unit, paths := range concerned {
			for _, path := range paths {
				if !slices.Contains(u.adoptedNames(unit), entryname.DirectoryName(path)) {
					return fault.New(errorname.AdoptFailed, "pack the directory %s of %s: it did not come", path, unit)
				}
			}
		}
		return nil
	})
}

// unpin lets PID 1 forget units again that are stopped.
func (c *Coordinator) unpin() {
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	if err := c.Units.Unpin(ctx); err != nil {
		c.Log.Warn("could not stop what keeps PID 1 from forgetting units; it does no harm", "error", err)
	}
}

func (u *update) adoptedNames(unit string) []string {
	var names []string
	for _, f := range u.adopted(unit) {
		names = append(names, f.Name)
	}
	return names
}
