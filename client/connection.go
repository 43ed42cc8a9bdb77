package client

import (
	"context"
	"fmt"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// dial connects to the bus until ctx ends; the connection lasts until Close.
func (c *Client) dial(ctx context.Context) (*dbus.Conn, error) {
	life, cancel := context.WithCancel(c.ctx)
	stop := context.AfterFunc(ctx, cancel)
	conn, err := c.connect(dbus.WithContext(life))
	if err == nil && !stop() {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		cancel()
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	context.AfterFunc(conn.Context(), cancel)
	return conn, nil
}

// present is the connection, which may be lost.
func (c *Client) present() *dbus.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.conn
}

// bus returns the connection, and a new one if it was lost.
func (c *Client) bus(ctx context.Context) (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	select {
	case c.dialing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.dialing }()
	if conn := c.present(); conn.Connected() {
		return conn, nil
	}
	if c.ctx.Err() != nil {
		return nil, errClosed
	}
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed { // by Close, which has seen the old one only
		conn.Close()
		return nil, errClosed
	}
	c.conn = conn
	return conn, nil
}

// send sends a call on the connection there is, and doesn't wait for the answer.
func (c *Client) send(ctx context.Context, method string, args ...any) *dbus.Call {
	conn := c.present()
	switch {
	case c.ctx.Err() != nil:
		return failed(errClosed)
	case !conn.Connected():
		return failed(unsent{dbus.ErrClosed})
	}
	return c.sendOn(ctx, conn, method, args...)
}

// resend is send for a call that has failed: it connects anew if it must.
func (c *Client) resend(ctx context.Context, method string, args ...any) *dbus.Call {
	conn, err := c.bus(ctx)
	if err != nil {
		return failed(unsent{err})
	}
	return c.sendOn(ctx, conn, method, args...)
}

func (c *Client) sendOn(ctx context.Context, conn *dbus.Conn, method string, args ...any) *dbus.Call {
	if err := ctx.Err(); err != nil {
		return failed(unsent{err})
	}
	// Not with ctx: what is answered after its end may have descriptors, which
	// somebody has to close, see wait.
	return conn.Object(busName, busPath).Go(method, 0, make(chan *dbus.Call, 1), args...)
}

// failed is a call that was answered with err.
func failed(err error) *dbus.Call {
	call := &dbus.Call{Err: err, Done: make(chan *dbus.Call, 1)}
	call.Done <- call
	return call
}

// wait waits for the answer to a call until ctx ends. What comes after that is closed.
func (c *Client) wait(ctx context.Context, call *dbus.Call) *dbus.Call {
	select {
	case <-call.Done: // also if ctx has ended
		return c.answered(call)
	default:
	}
	select {
	case <-call.Done:
		return c.answered(call)
	case <-ctx.Done():
		// It ends when the answer comes or the connection ends, with Close at last.
		go func() { drop(<-call.Done) }()
		return failed(ctx.Err())
	}
}

func (c *Client) answered(call *dbus.Call) *dbus.Call {
	if c.ctx.Err() != nil && lost(call.Err) {
		call.Err = fmt.Errorf("%w; %w", errClosed, ErrUnknown)
	}
	c.meet(call.Err)
	return call
}

// drop closes the descriptors of an answer that nobody wants.
func drop(call *dbus.Call) {
	if call.Err == nil {
		closeIn(call.Body)
	}
}

// closeIn closes the descriptors in what the library made of a message: h, or a(sh).
func closeIn(value any) {
	switch v := value.(type) {
	case dbus.UnixFD:
		unix.Close(int(v))
	case []any:
		for _, one := range v {
			closeIn(one)
		}
	case [][]any:
		for _, one := range v {
			closeIn(one)
		}
	}
}
