package coordinator

import (
	"context"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// readyLocked says why there can be no live update now.
func (c *Coordinator) readyLocked() error {
	if err := c.Kernel.Probe(); err != nil {
		return fault.New(errorname.NotSupported, "no live update is possible: %w", err)
	}
	if err := c.FreeLocked("start a live update"); err != nil {
		return err
	}
	if c.Rec.Degraded != "" {
		return fault.New(errorname.Degraded, "no live update is possible: %s", c.Rec.Degraded)
	}
	if c.UnreadLocked() {
		return fault.New(errorname.NotRestored, "no live update is possible: luod has not seen yet whether the previous kernel handed anything over, because somebody else has /dev/liveupdate open; see 'fuser /dev/liveupdate'")
	}
	if c.holderLeft.Load() {
		return fault.New(errorname.Busy, "no live update now: %s of the last one still holds its sessions, and could not be stopped; luod tries again", pid1.HolderUnit)
	}
	if len(c.Rec.Stopped) > 0 {
		return fault.New(errorname.Busy, "no live update now: services that were stopped for the last one are being started again; try again in a moment")
	}
	if err := c.withinLimitsLocked(); err != nil {
		return err
	}
	if unit, name, is := c.HalfBackLocked(); is {
		return fault.New(errorname.Degraded, "no live update is possible: %q of %s did not come back as it went and lies only in its session, which the update would discard; 'luoctl status' says why, and 'luoctl discard %s' gives it up", name, unit, unit)
	}
	if waiting := c.UnreleasedLocked(); len(waiting) > 0 {
		return fault.New(errorname.SessionWaiting, "no live update is possible: the session %q of %s came through the last one and is not released; what is in it would be lost", waiting[0].Name, waiting[0].Unit)
	}
	loaded, err := c.Loader.Loaded()
	if err != nil {
		return &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	switch {
	case !loaded:
		return fault.New(errorname.NoKernelLoaded, "no live update is possible: no kernel is loaded; load one with 'luoctl load'")
	case c.Rec.Loaded == nil:
		return fault.New(errorname.ForeignKernel, "no live update is possible: the loaded kernel was not loaded by luod, so its command line and its ability to take memory over are unknown; load one with 'luoctl load'")
	case c.Rec.Loaded.Generation != c.Rec.Generation+1:
		return fault.New(errorname.ForeignKernel, "no live update is possible: the loaded kernel was meant for generation %d and the next is %d; load it again", c.Rec.Loaded.Generation, c.Rec.Generation+1)
	}
	return nil
}

// able is ready, and what takes a while: whether luod and what others hold would live
// until the jump, and whether the memory is enough.
func (c *Coordinator) able(ctx context.Context, options record.Options) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	err = c.readyLocked()
	unlock()
	if err != nil {
		return err
	}
	look, cancel := context.WithTimeout(ctx, state.Briefly)
	defer cancel()
	if err := c.Jumper.Check(look, options.Fast); err != nil {
		return fault.New(errorname.WouldNotSurvive, "no live update is possible: %w", err)
	}
	return c.roomForAll(ctx)
}
