package coordinator

import (
	"context"
	"fmt"
	"os"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/intake"
	"github.com/liveupdate/luod/luod/internal/manifest"
)

// adoptingLocked refuses whoever is not the program that copies what unit has.
func (c *Coordinator) adoptingLocked(caller, unit string) (*intake.Intake, error) {
	u := c.update
	if u == nil || u.adoption == nil || caller == "" || u.adoption.Caller != caller || !u.adoption.Units[unit] || u.ctx.Err() != nil {
		return nil, fault.New(errorname.NotPreparing, "%s may not hand over what belongs to %s", caller, unit)
	}
	return u.adoption, nil
}

// Adopt takes files over that were copied out of unit's fd store, in the order in
// which they are to be pushed again: memfds, and descriptions of what is made anew,
// which nobody else can hand over. On success the coordinator owns them; on an error
// the caller does.
func (c *Coordinator) Adopt(ctx context.Context, caller, unit string, names []string, files []*os.File) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := c.adoptingLocked(caller, unit)
	if err != nil {
		return err
	}
	return a.Take(unit, names, files)
}

// Forgo says that entries of unit's fd store can't be made anew, each for its
// reason. It is refused unless the unit lets an update go on without.
func (c *Coordinator) Forgo(ctx context.Context, caller, unit string, names, reasons []string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	a, err := c.adoptingLocked(caller, unit)
	if err != nil {
		return err
	}
	if len(names) != len(reasons) || len(names) == 0 {
		return fault.New(errorname.BadRequest, "%d names were given for %d reasons", len(names), len(reasons))
	}
	text := ""
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += fmt.Sprintf("%q (%s)", name, reasons[i])
	}
	d := c.update.declared[unit]
	if d == nil || !d.Optional {
		why := fault.New(errorname.WouldNotSurvive, "no live update is possible: the fd store of %s holds what can't be made anew: %s; with OnFailure=ignore in its unit file an update goes on without", unit, text)
		c.update.cancel(why) // rather than what the program makes of it
		return why
	}
	a.Skipped[unit] += len(names)
	c.update.without = append(c.update.without, manifest.LeftBehind{Unit: unit, Reason: fdstores.Forgoing + text})
	return nil
}
