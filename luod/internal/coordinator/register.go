package coordinator

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// The bounds of a registration.
const (
	minTimeout       = time.Millisecond
	maxOrder         = 256
	maxRegistrations = 4096
)

// Register makes unit take part in live updates for as long as it runs, whatever
// becomes of the connection it did so by. A second call replaces the first, and
// one while the unit is being prepared also tells it so again.
func (c *Coordinator) Register(ctx context.Context, unit string, r record.Registration) error {
	switch names := append(slices.Clone(r.After), r.Before...); {
	case r.Timeout != 0 && r.Timeout < minTimeout || r.Timeout > c.Settings.PrepareTimeout:
		return fault.New(errorname.BadRequest, "register %s: the timeout %s is not between %s and %s", unit, r.Timeout, minTimeout, c.Settings.PrepareTimeout)
	case len(names) > maxOrder:
		return fault.New(errorname.BadRequest, "register %s: it names %d units to be ordered with, and at most %d can be", unit, len(names), maxOrder)
	case slices.Contains(names, unit):
		return fault.New(errorname.BadRequest, "register %s: it can't come before or after itself", unit)
	default:
		for _, name := range names {
			if !unitsection.ValidUnit(name) {
				return fault.New(errorname.BadRequest, "register %s: %q is no name of a service", unit, strings.ToValidUTF8(name, "?"))
			}
		}
	}
	look, cancel := context.WithTimeout(ctx, state.AskTimeout)
	running, err := c.Units.Look(look, []string{unit})
	cancel()
	if err != nil {
		c.Log.Warn("PID 1 does not say which start of a service registers", "unit", unit, "error", err)
	}
	r.Invocation = running[unit].InvocationID
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	_, again := c.Rec.Registered[unit]
	if !again && len(c.Rec.Registered) >= maxRegistrations {
		return fault.New(errorname.TooMany, "register %s: %d units are registered already", unit, maxRegistrations)
	}
	was := c.Rec.Registered[unit]
	if c.Rec.Registered == nil {
		c.Rec.Registered = map[string]record.Registration{}
	}
	c.Rec.Registered[unit] = r
	if err := c.SaveLocked(); err != nil {
		if c.Rec.Registered[unit] = was; !again {
			delete(c.Rec.Registered, unit)
		}
		return fault.New(errorname.NoRecord, "register %s: %w", unit, err)
	}
	c.Log.Info("a service takes part in live updates", "unit", unit, "timeout", r.Timeout)
	if u := c.update; u != nil && u.barrier != nil && c.Rec.Phase == phase.Preparing {
		c.inviteLocked(u, unit)
	}
	return nil
}

// Unregister ends it. Who does so while it is asked for is not ready, and is
// dealt with as if it had failed.
func (c *Coordinator) Unregister(ctx context.Context, unit string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if _, is := c.Rec.Registered[unit]; !is {
		return fault.New(errorname.NotRegistered, "unregister %s: it is not registered", unit)
	}
	delete(c.Rec.Registered, unit)
	if u := c.update; u != nil && u.barrier != nil && c.Rec.Phase == phase.Preparing {
		_ = u.barrier.Fail(unit, "it unregistered while the update was prepared")
		c.turnsLocked(u)
	}
	return c.SaveLocked()
}
