package coordinator

import (
	"github.com/liveupdate/luod/luod/internal/fault"

	"github.com/liveupdate/luod/client/errorname"
)

// Phase is where a live update stands.
type Phase string

// The phases. Before Committed everything can be taken back; afterwards only
// PID 1 or the kernel can stop the jump, and then it is taken back too.
const (
	Idle      Phase = "idle"
	Checking  Phase = "checking"
	Preparing Phase = "preparing"
	Packing   Phase = "packing"
	Stopping  Phase = "stopping"
	Committed Phase = "committed"
	Restoring Phase = "restoring"
)

// underway says that an update has begun and can't be asked for again.
func (p Phase) underway() bool { return p != Idle && p != Restoring }

// frozen says that the cargo can't change any more.
func (p Phase) frozen() bool { return p == Packing || p == Stopping || p == Committed }

// event is what moves an update on.
type event string

const (
	triggered  event = "trigger"
	checked    event = "checks passed"
	prepared   event = "all ready"
	packed     event = "packed"
	packedFast event = "packed, fast"
	stopped    event = "all stopped"
	takenBack  event = "taken back"
	resumed    event = "taken back, some have not fetched yet"
	jumped     event = "kexec"
	complete   event = "all fetched"
)

// transition is one arrow of the state machine.
type transition struct {
	From Phase
	On   event
	To   Phase
}

// transitions is the whole state machine: no other change of the phase happens.
// The diagram in luod/states.md and
// the list of places where tests kill luod are made from it.
var transitions = []transition{
	{Idle, triggered, Checking},
	{Restoring, triggered, Checking},
	{Checking, checked, Preparing},
	{Preparing, prepared, Packing},
	{Packing, packed, Committed},
	{Packing, packedFast, Stopping},
	{Stopping, stopped, Committed},
	{Checking, takenBack, Idle},
	{Checking, resumed, Restoring},
	{Preparing, takenBack, Idle},
	{Preparing, resumed, Restoring},
	{Packing, takenBack, Idle},
	{Stopping, takenBack, Idle},
	{Committed, takenBack, Idle},
	{Committed, jumped, Restoring},
	{Restoring, complete, Idle},
}

// after returns where on leads to from a phase, and false if nowhere.
func after(from Phase, on event) (Phase, bool) {
	for _, t := range transitions {
		if t.From == from && t.On == on {
			return t.To, true
		}
	}
	return from, false
}

// moveLocked makes a transition and writes it down before anything is done about it.
// The error is the record's; the phase has changed nevertheless.
//
// Killed before the record is written: the next start finds the phase before,
// and nothing of the new one was done. Killed after: it finds the new phase,
// and takes the update back, or after the commit asks whether it goes on.
func (c *Coordinator) moveLocked(on event) error {
	to, ok := after(c.rec.Phase, on)
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
