package client

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const unitInterface = "org.luod.LiveUpdate1.Unit"

// Participation says how a service takes part in live updates.
type Participation struct {
	// Timeout is how long it may take to say Ready; 0 means luod's default, 90 s.
	Timeout time.Duration
	// Optional lets the update go on without the service if it fails.
	Optional bool
	// After and Before name services that are prepared earlier or later.
	After, Before []string
}

// Event is what a registered service is told.
type Event struct {
	// Prepare asks the service to quiesce, to hand over what it has not yet, and
	// to call Ready or Fail before Deadline. Without it the update was taken
	// back for Reason, and the service goes on as before.
	Prepare    bool
	Generation uint64
	Deadline   time.Time
	Reason     string
}

// Register makes this process's unit take part in live updates, for as long as
// the unit runs. The channel gets an event when it is the unit's turn, perhaps
// more than once, and when an update is taken back; it is closed with the
// client. The error wraps an *Error.
func (c *Client) Register(ctx context.Context, p Participation) (<-chan Event, error) {
	// Listen before luod may speak.
	signals := make(chan *dbus.Signal, 16)
	c.conn.Signal(signals)
	if err := c.conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(unitInterface)); err != nil {
		c.conn.RemoveSignal(signals)
		return nil, fmt.Errorf("Register: listen for signals: %w", err)
	}
	options := map[string]dbus.Variant{}
	if p.Timeout > 0 {
		options["timeout"] = dbus.MakeVariant(uint64(p.Timeout.Microseconds()))
	}
	if p.Optional {
		options["on-failure"] = dbus.MakeVariant("ignore")
	}
	if len(p.After) > 0 {
		options["after"] = dbus.MakeVariant(p.After)
	}
	if len(p.Before) > 0 {
		options["before"] = dbus.MakeVariant(p.Before)
	}
	var path dbus.ObjectPath
	if err := c.call(ctx, "Register", options).Store(&path); err != nil {
		c.conn.RemoveSignal(signals)
		return nil, err
	}
	events := make(chan Event, 16)
	go func() {
		defer close(events)
		for s := range signals {
			if e, ok := read(s, path); ok && c.fromLuod(s) {
				events <- e
			}
		}
	}()
	return events, nil
}

// fromLuod says whether luod sent s. The match rule is not enough: anybody on the
// bus may send a signal to one connection alone, which needs none.
func (c *Client) fromLuod(s *dbus.Signal) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var owner string
	err := c.conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, busName).Store(&owner)
	return err == nil && owner == s.Sender
}

// read makes an event of a signal, if it is one for path.
func read(s *dbus.Signal, path dbus.ObjectPath) (Event, bool) {
	if s.Path != path {
		return Event{}, false
	}
	var e Event
	switch s.Name {
	case unitInterface + ".PrepareForLiveUpdate":
		var deadline uint64
		if dbus.Store(s.Body, &e.Generation, &deadline) != nil {
			return Event{}, false
		}
		e.Prepare, e.Deadline = true, wall(deadline)
	case unitInterface + ".Cancelled":
		if dbus.Store(s.Body, &e.Generation, &e.Reason) != nil {
			return Event{}, false
		}
	default:
		return Event{}, false
	}
	return e, true
}

// wall makes a time of µs of CLOCK_MONOTONIC.
func wall(usec uint64) time.Time {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return time.Now()
	}
	return time.Now().Add(time.Duration(usec)*time.Microsecond - time.Duration(now.Nano()))
}

// Ready says that this unit has quiesced and handed over everything.
func (c *Client) Ready(ctx context.Context) error { return c.call(ctx, "Ready").Err }

// Fail says that this unit can't take part now. Unless it is optional the update
// is taken back, and everybody is told the reason.
func (c *Client) Fail(ctx context.Context, reason string) error {
	return c.call(ctx, "Fail", reason).Err
}

// Unregister ends the unit's part in live updates.
func (c *Client) Unregister(ctx context.Context) error { return c.call(ctx, "Unregister").Err }
