package client

import (
	"context"
	"errors"
	"time"

	"github.com/godbus/dbus/v5"
)

// inFlight is how many calls with descriptors are sent before the first is answered.
// dbus-daemon holds 64 descriptors on their way from or to one connection
// (max_incoming_unix_fds and max_outgoing_unix_fds of dbus-daemon(1)).
const inFlight = 3

// pipeline sends n calls and gives their answers to got, in their order. After an
// error, which it returns, it sends no more, and waits for what it has sent.
func pipeline(n int, send func(i int) *dbus.Call, got func(i int, call *dbus.Call) error) error {
	var first error
	var calls []*dbus.Call
	for done := 0; ; done++ {
		for first == nil && len(calls) < n && len(calls) < done+inFlight {
			calls = append(calls, send(len(calls)))
		}
		if done == len(calls) {
			return first
		}
		if err := got(done, <-calls[done].Done); err != nil && first == nil {
			first = err
		}
	}
}

// The bus is full for a moment when many services hand over at once.
const (
	fullAttempts = 8
	fullPause    = 10 * time.Millisecond
)

// knowPause is how soon luod is asked again that does not know yet what it has.
const knowPause = 250 * time.Millisecond

// patiently sends a call once more, after longer and longer pauses, while the answer
// to it is that the other side's queue is full: such a call has not arrived. Until ctx
// ends it does so while luod doesn't know yet what it has for the caller.
func patiently(ctx context.Context, call *dbus.Call, again func() *dbus.Call) *dbus.Call {
	for full := 0; ; call = <-again().Done {
		var remote dbus.Error
		if !errors.As(call.Err, &remote) {
			return call
		}
		pause := knowPause
		switch {
		case remote.Name == "org.luod.LiveUpdate1.Error.NotRestored":
		case remote.Name == "org.freedesktop.DBus.Error.LimitsExceeded" && full < fullAttempts:
			pause = fullPause << full
			full++
		default:
			return call
		}
		select {
		case <-ctx.Done():
			return call
		case <-time.After(pause):
		}
	}
}
