package client

import (
	"context"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
)

// ear hears luod's signals to units on one connection.
type ear struct {
	conn *dbus.Conn
	// signals is closed when the connection is lost.
	signals chan *dbus.Signal
}

func (e *ear) close() { e.conn.RemoveSignal(e.signals) }

// listen begins to hear, on a new connection if the one there is was lost.
func (c *Client) listen(ctx context.Context) (*ear, error) {
	for w := c.wayToWait(ctx); ; {
		conn, err := c.bus(ctx)
		if err != nil {
			err = unsent{err}
		} else {
			e := &ear{conn, make(chan *dbus.Signal, 16)}
			conn.Signal(e.signals)
			if err = conn.AddMatchSignalContext(ctx, dbus.WithMatchSender(busName), dbus.WithMatchInterface(unitInterface)); err == nil {
				return e, nil
			}
			e.close()
		}
		if !w.again(err) {
			return nil, w.over(err)
		}
	}
}

// registration is what one Register has returned.
type registration struct {
	path   dbus.ObjectPath
	events chan Event
	// asked is the update that the service was asked to prepare for, and takenBack the
	// one that it was told of without luod's signal.
	asked, takenBack uint64
}

// follow gives luod's signals to the service until the client is closed.
func (c *Client) follow(e *ear, r *registration) {
	defer close(r.events)
	for {
		c.pass(e, r)
		if c.ctx.Err() != nil {
			return
		}
		// The bus was restarted: it has forgotten what this connection listened for, and
		// luod may have spoken meanwhile.
		if e = c.enlist(); e == nil {
			return
		}
		c.missed(r)
	}
}

// pass gives signals to the service until the connection is lost.
func (c *Client) pass(e *ear, r *registration) {
	for {
		select {
		case s, ok := <-e.signals:
			if !ok {
				return
			}
			if event, ok := read(s, r.path); ok && fromLuod(c.ctx, e.conn, s) {
				c.tell(r, event)
			}
		case <-c.ctx.Done():
			return
		}
	}
}

// fromLuod says whether luod sent s. The match rule is not enough: anybody on the
// bus may send a signal to one connection alone, which needs none.
func fromLuod(ctx context.Context, conn *dbus.Conn, s *dbus.Signal) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var owner string
	err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetNameOwner", 0, busName).Store(&owner)
	return err == nil && owner == s.Sender
}

// tell gives one event to the service.
func (c *Client) tell(r *registration, e Event) {
	if !e.Prepare && e.Generation == r.takenBack {
		return // it knows
	}
	r.asked, r.takenBack = 0, 0
	if e.Prepare {
		r.asked = e.Generation
	}
	c.mu.Lock()
	c.asked = r.asked
	c.mu.Unlock()
	select {
	case r.events <- e:
	case <-c.ctx.Done():
	}
}

// enlist listens on a new connection and registers the unit once more, for as long as it
// takes, and returns nil when the client is closed. luod knows the unit still; but if it
// is the unit's turn it tells it so again, which it may have done while nobody listened.
func (c *Client) enlist() *ear {
	for pause := awayPause; ; pause = min(2*pause, awayPauseMax) {
		if e, err := c.listen(c.ctx); err == nil {
			options := c.registered()
			if options == nil {
				return e
			}
			call, _ := c.repeat(c.ctx, nil, busPrefix+"Register", options)
			if c.registered() == nil {
				_ = c.call(c.ctx, "Unregister") // which was called before luod had this
			}
			if v := judge(call.Err); v == done || v == refused {
				return e
			}
			e.close()
		}
		select {
		case <-c.ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// registered are the options of the last Register, nil after Unregister.
func (c *Client) registered() map[string]dbus.Variant {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.options
}

// underWay are the phases (luod(8)) in which a unit that was asked to prepare has to wait.
var underWay = []string{"preparing", "packing", "stopping", "committed"}

// missed tells the service that an update was taken back, if that happened while the bus
// was restarted.
func (c *Client) missed(r *registration) {
	if r.asked == 0 {
		return
	}
	var phase string
	call, _ := c.repeat(c.ctx, nil, "org.freedesktop.DBus.Properties.Get", busPrefix[:len(busPrefix)-1], "Phase")
	if call.Store(&phase) != nil || slices.Contains(underWay, phase) {
		return
	}
	generation := r.asked
	c.tell(r, Event{Generation: generation, Reason: "the live update was taken back while the bus was restarted"})
	r.takenBack = generation
}
