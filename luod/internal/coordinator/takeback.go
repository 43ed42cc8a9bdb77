package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
)

// Cancel takes back the update that is under way, or else the one that is
// scheduled. After the commit it is too late.
func (c *Coordinator) Cancel(ctx context.Context, reason string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case c.Rec.Phase == phase.Committed:
		return fault.New(errorname.TooLate, "cancel the live update: it is committed, and PID 1 shuts the system down; 'systemctl cancel' may still stop that")
	case c.Rec.Phase.Underway() && c.update != nil:
		c.update.cancel(fault.New(errorname.Cancelled, "the live update was cancelled: %s", reason))
	case c.Rec.Schedule != nil:
		c.Rec.Schedule = nil
		c.armLocked()
		c.Log.Info("the scheduled live update was cancelled", "reason", reason)
		return c.SaveLocked()
	default:
		return fault.New(errorname.NothingToCancel, "cancel the live update: none is under way or scheduled")
	}
	return nil
}

// abort takes the update back and returns why, with what could not be undone. What was
// packed is let go of without the lock, since the kernel takes its time for that; the
// phase changes afterwards, so that nobody begins anything meanwhile.
func (c *Coordinator) abort(why error) error {
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return err
	}
	outgoing := c.outgoing
	c.outgoing = nil
	unlock()
	if outgoing != nil {
		if err := outgoing.Close(); err != nil {
			why = errors.Join(why, fmt.Errorf("take the sessions back: %w", err))
		}
	}
	if unlock, err = c.Lock(context.Background()); err != nil {
		return err
	}
	defer unlock()
	c.takenBackLocked(why)
	_ = c.MoveLocked(c.backLocked())
	c.hooks.PayLocked()
	c.reviveLocked()
	c.Stores.WatchAllLocked()
	return why
}

// takenBackLocked forgets the update, and tells everybody who has heard of it; the phase
// is the caller's.
func (c *Coordinator) takenBackLocked(why error) {
	if u := c.update; u != nil {
		c.quietLocked(u)
		u.adoption.Close()
	}
	c.Copying = nil
	c.unhookLocked(why.Error())
	if u := c.update; u != nil && !u.options.NoWall {
		c.wall("The live update was taken back, and the system runs on.", why.Error())
	}
	c.update = nil
	c.tellLocked(c.Rec.Asked, why.Error())
	c.Rec.LastError, c.Rec.Asked = why.Error(), nil
	c.Log.Error("the live update was taken back", "reason", why, "generation", c.Rec.Generation+1, catalog.MessageID, catalog.TakenBack)
}

// backLocked is how an update that is taken back ends.
func (c *Coordinator) backLocked() phase.Event {
	if _, is := phase.After(c.Rec.Phase, phase.Resumed); is && !c.AllFetchedLocked() {
		return phase.Resumed
	}
	return phase.TakenBack
}

// unhookLocked has the hooks told that the update of which they heard was taken back.
func (c *Coordinator) unhookLocked(reason string) {
	if c.Rec.Hooked {
		c.Rec.Hooked = false
		c.hooks.OweLocked("cancel", c.Rec.Generation+1, "LUOD_REASON="+reason)
	}
}

// wall tells whoever is logged in.
func (c *Coordinator) wall(text, message string) {
	if c.Wall == nil {
		return
	}
	if message != "" {
		text += "\n" + message
	}
	c.Wall(text)
}

// tellLocked says to units, and to everybody, that the update was taken back.
func (c *Coordinator) tellLocked(units []string, reason string) {
	for _, unit := range units {
		c.announce(Signal{Unit: unit, Generation: c.Rec.Generation + 1, Reason: reason})
	}
	if units != nil {
		c.announce(Signal{Generation: c.Rec.Generation + 1, Reason: reason})
	}
}
