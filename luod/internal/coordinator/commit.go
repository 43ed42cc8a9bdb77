package coordinator

import (
	"context"
	"errors"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
)

// last looks once more, when everything is packed: nobody may have died, or have
// begun to inhibit the update, since.
func (c *Coordinator) last(u *update) error {
	if err := c.inhibited(u.ctx, u.options); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(u.ctx, state.AskTimeout)
	defer cancel()
	var units []string
	if err := c.inside(u, func() error { units = u.barrier.Answering(); return nil }); err != nil {
		return err
	}
	running, err := c.Units.Look(ctx, units)
	if err != nil {
		return fault.New(errorname.NoManager, "find out whether the services still run: %w", err)
	}
	return c.inside(u, func() error {
		if err := c.StillLoadedLocked(); err != nil {
			return err
		}
		c.lookedLocked(u, running)
		if verdict, reason := u.barrier.Verdict(); verdict == barrier.Refused {
			return fault.New(errorname.Vetoed, "a service is no longer ready for a live update: %s", reason)
		}
		return nil
	})
}

// commit triggers the jump. What it returns has to be taken back.
//
// Killed before the record says "committed": the next start takes everything
// back. Killed after: the next start asks PID 1 whether a shutdown is under way,
// and keeps the sessions or takes them back.
func (c *Coordinator) commit(u *update, result *packer.Packed) error {
	if err := c.inside(u, func() error {
		c.outgoing = result
		c.Rec.TimeLine = result.Manifest.TimeLine
		if err := c.StillLoadedLocked(); err != nil {
			return err
		}
		on := phase.Packed
		if u.options.Fast {
			on = phase.Stopped
		}
		if err := c.MoveLocked(on); err != nil {
			return fault.New(errorname.NoRecord, "commit the live update: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	// Not u's context: from now on nobody can cancel it.
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	problems, err := c.Jumper.Jump(ctx, way(u.options))
	if err != nil {
		return fault.New(errorname.JumpFailed, "start the jump: %w", err)
	}
	c.Log.Info("committed: the system boots the loaded kernel", "generation", u.generation, "fast", u.options.Fast, catalog.MessageID, catalog.Committed)
	go c.await(problems)
	return nil
}

// await takes the update back if the jump does not happen.
func (c *Coordinator) await(problems <-chan error) {
	switch problem := <-problems; {
	case errors.Is(problem, pid1.ErrHungUp):
		c.oversee(0)
	case problem != nil:
		c.giveUp(fault.New(errorname.JumpFailed, "the jump did not happen: %w", problem))
	}
}

// giveUp takes a committed update back.
func (c *Coordinator) giveUp(why error) {
	c.letHoldersGo()
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return
	}
	committed := c.Rec.Phase == phase.Committed
	unlock()
	if committed {
		_ = c.abort(why)
	}
}
