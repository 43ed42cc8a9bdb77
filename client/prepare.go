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

// options are p's on the bus.
func (p Participation) options() map[string]dbus.Variant {
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
	return options
}

// Register makes this process's unit take part in live updates, for as long as
// the unit runs. The channel gets an event when it is the unit's turn, perhaps
// more than once, and when an update is taken back; it is closed with the
// client. A restart of luod or of the bus doesn't end it. The error wraps an *Error.
func (c *Client) Register(ctx context.Context, p Participation) (<-chan Event, error) {
	options := p.options()
	// Listen before luod may speak.
	e, err := c.listen(ctx)
	if err != nil {
		return nil, fmt.Errorf("Register: listen for signals: %w", err)
	}
	r := registration{events: make(chan Event, 16)}
	if err := c.call(ctx, "Register", options).Store(&r.path); err != nil {
		e.close()
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		e.close()
		return nil, fmt.Errorf("Register: %w", errClosed)
	}
	c.options = options
	c.followers.Go(func() { c.follow(e, &r) })
	return r.events, nil
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

// Ready says that this unit has quiesced and handed over everything. It is no error if
// luod was restarted meanwhile and the update is over: an Event tells if it was taken back.
func (c *Client) Ready(ctx context.Context) error { return c.say(ctx, "Ready") }

// Fail says that this unit can't take part now. Unless it is optional the update
// is taken back, and everybody is told the reason.
func (c *Client) Fail(ctx context.Context, reason string) error { return c.say(ctx, "Fail", reason) }

// say answers the update that this unit was asked to prepare for. It is not repeated for
// another, which the unit has not prepared for.
func (c *Client) say(ctx context.Context, method string, args ...any) error {
	asked := c.askedFor()
	still := func() bool { return c.askedFor() == asked }
	call, worst := c.repeat(ctx, still, busPrefix+method, args...)
	switch v := judge(call.Err); {
	case worst < away:
	case v >= away && !still(), refusedAs(call.Err, "NotPreparing"):
		return nil // that update is over, or is packed already
	}
	return explain(method, call.Err, worst == unknown)
}

// askedFor is the update that this unit is asked to prepare for, or 0.
func (c *Client) askedFor() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// Unregister ends the unit's part in live updates.
func (c *Client) Unregister(ctx context.Context) error {
	c.mu.Lock()
	c.options = nil // before a follower registers again
	c.mu.Unlock()
	return c.call(ctx, "Unregister").Err
}
