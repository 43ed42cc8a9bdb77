package coordinator

import "time"

// Signal is something that services are told over the bus.
type Signal struct {
	// Unit is whom it is meant for, or empty if it is for everybody.
	Unit string
	// Start says that an update is being prepared, and its absence that it was
	// taken back or is over.
	Start      bool
	Generation uint64
	// Deadline is when the unit must have said Ready; for everybody it is when
	// the last service must have.
	Deadline time.Time
	// Reason is why it was taken back; empty after an update that arrived.
	Reason string
}

func (c *Coordinator) announce(s Signal) {
	if c.Announce != nil {
		c.Announce(s)
	}
}
