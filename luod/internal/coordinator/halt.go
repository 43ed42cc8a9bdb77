package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/state"
)

// halt stops those that have something at stake before a fast jump: who
// registered, was asked, or handed something over, and whose fd store comes along. The others run until the
// kernel jumps. What runs of these and goes down with them is what has to run again if
// it does not.
//
// Killed meanwhile: the record says what ran before, and the next start starts
// again what doesn't run.
func (c *Coordinator) halt(u *update, result *packer.Packed) error {
	ctx, cancel := context.WithTimeout(u.ctx, c.Settings.StopTimeout)
	defer cancel()
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	concerned := c.concernedLocked(u)
	unlock()
	running, err := c.Units.Look(ctx, concerned)
	if err != nil {
		return fault.New(errorname.NoManager, "find out which services run: %w", err)
	}
	concerned = slices.DeleteFunc(concerned, func(unit string) bool { return !running[unit].Runs() })
	before, err := c.Units.Active(ctx, concerned)
	if err != nil {
		return fault.New(errorname.NoManager, "find out what runs: %w", err)
	}
	if err := c.inside(u, func() error {
		c.Rec.Stopped = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Rec.Stopped, before, concerned))))
		c.outgoing = result
		if err := c.MoveLocked(phase.PackedFast); err != nil {
			return fault.New(errorname.NoRecord, "stop the services: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.Units.Stop(ctx, concerned); err != nil {
		return fault.New(errorname.StopFailed, "stop the services before the jump: %w", err)
	}
	return nil
}

func (c *Coordinator) concernedLocked(u *update) []string {
	units := slices.Concat(c.Vault.Units(), c.UnitsLocked(), slices.Collect(maps.Keys(c.Rec.Registered)), slices.Collect(maps.Keys(u.members)), slices.Collect(maps.Keys(u.adoption.Units)))
	slices.Sort(units)
	return slices.Compact(units)
}

// reviveLocked starts again what was stopped for a jump that did not happen.
func (c *Coordinator) reviveLocked() {
	units := c.Rec.Stopped
	if len(units) == 0 {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), c.Settings.StopTimeout)
		defer cancel()
		err := c.Units.Start(ctx, units)
		unlock, stopped := c.Lock(context.Background())
		if stopped != nil {
			return
		}
		defer unlock()
		c.Rec.Stopped = nil
		if err != nil {
			c.Rec.LastError = fmt.Sprintf("%s; not all services that had been stopped could be started again: %v", c.Rec.LastError, err)
			c.Log.Error("not all services that had been stopped could be started again", "reason", err)
		}
		_ = c.SaveLocked()
	}()
}

// overseeInterval is how often it is asked
// whether the jump is still to come, and overseeCount how often in a row it has to
// hear no: PID 1 has no job left in the moment before it ends.
const (
	overseeInterval = time.Second
	overseeCount    = 3
)

// errGivenUp is why an update is taken back of whose jump nobody told.
var errGivenUp = errors.New("the jump that had been begun did not happen: neither PID 1 nor logind knows of it")

// oversee takes an update back that is committed, and of whose jump nobody tells (a
// killed luod has begun it, or PID 1 has hung up), if it is given up after all.
func (c *Coordinator) oversee(no int) {
	c.Clock.AfterFunc(overseeInterval, func() {
		unlock, err := c.Lock(context.Background())
		if err != nil {
			return
		}
		now := c.Rec.Phase
		unlock()
		if now != phase.Committed {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
		defer cancel()
		jumping, err := c.Jumper.Jumping(ctx)
		if jumping || err != nil {
			no = -1
		}
		if no+1 < overseeCount {
			c.oversee(no + 1)
			return
		}
		c.giveUp(fault.New(errorname.JumpFailed, "%w", errGivenUp))
	})
}
