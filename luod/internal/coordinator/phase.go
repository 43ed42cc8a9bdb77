package coordinator

import (
	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"

	"github.com/liveupdate/luod/luod/internal/fault"
)

// moveLocked makes a transition and writes it down before anything is done about it.
// The error is the record's; the phase has changed nevertheless.
//
// Killed before the record is written: the next start finds the phase before,
// and nothing of the new one was done. Killed after: it finds the new phase,
// and takes the update back, or after the commit asks whether it goes on.
func (c *Coordinator) moveLocked(on phase.Event) error {
	to, ok := phase.After(c.rec.Phase, on)
	if !ok {
		// A mistake of ours. Going on is safer than dying with all that is held.
		c.Log.Error("there is no such transition", "from", c.rec.Phase, "on", on)
		return fault.New(errorname.Busy, "there is no way from %s on %q", c.rec.Phase, on)
	}
	from := c.rec.Phase
	if c.step != nil {
		c.step(from, on, false)
	}
	c.rec.Phase = to
	err := c.saveLocked()
	if c.step != nil {
		c.step(from, on, true)
	}
	return err
}
