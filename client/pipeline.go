package client

import "github.com/godbus/dbus/v5"

// inFlight is how many calls with descriptors are sent before the first is answered.
// dbus-daemon holds 64 descriptors on their way from or to one connection
// (max_incoming_unix_fds and max_outgoing_unix_fds of dbus-daemon(1)).
const inFlight = 3

// pipeline sends n calls and gives them to got, in their order, which waits for the
// answer. After an error, which it returns, it sends no more, and waits for what it has
// sent.
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
		if err := got(done, calls[done]); err != nil && first == nil {
			first = err
		}
	}
}

// messages is how many messages n descriptors take.
func messages(n int) int { return (n + perMessage - 1) / perMessage }
