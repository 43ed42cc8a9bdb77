package client

import (
	"context"
	"testing"
	"time"
)

// Ready is for the update that asked, and not for another after a restart of luod.
func TestReadyIsNotRepeatedForAnotherUpdate(t *testing.T) {
	for method, say := range map[string]func(*Client, context.Context) error{
		"Ready": (*Client).Ready,
		"Fail":  func(c *Client, ctx context.Context) error { return c.Fail(ctx, "no") },
	} {
		c, m := connect(t)
		events, err := c.Register(within(t), Participation{})
		if err != nil {
			t.Fatal(err)
		}
		emit(t, m, "PrepareForLiveUpdate", uint64(1), uint64(0))
		if e := next(t, events); !e.Prepare {
			t.Fatalf("told %+v", e)
		}
		m.with(func() { m.trouble[method] = []trouble{{}} })
		done := make(chan error, 1)
		go func() { done <- say(c, within(t)) }()
		m.wait(t, func() bool { return m.served == 2 })
		emit(t, m, "Cancelled", uint64(1), "luod was restarted")
		if e := next(t, events); e.Prepare {
			t.Fatalf("told %+v", e)
		}
		emit(t, m, "PrepareForLiveUpdate", uint64(2), uint64(0))
		if err := <-done; err != nil {
			t.Errorf("%s: %v", method, err)
		}
		m.with(func() {
			if len(m.said) != 0 {
				t.Errorf("%s was said to another update", method)
			}
		})
	}
	// Said once, it may have let the update go on.
	c, m := connect(t)
	m.with(func() {
		m.trouble["Ready"] = []trouble{{late: true, then: func() { m.with(func() { m.phase = "packing" }) }}}
	})
	if err := c.Ready(within(t)); err != nil {
		t.Errorf("a Ready that was heard: %v", err)
	}
	// And without trouble it is an error to say it to nobody.
	if err := c.Ready(within(t)); !refusedAs(err, "NotPreparing") {
		t.Errorf("got %v", err)
	}
}

// emit sends a signal of luod to the unit.
func emit(t *testing.T, m *manager, member string, body ...any) {
	t.Helper()
	if err := m.present().Emit(unitPath, unitInterface+"."+member, body...); err != nil {
		t.Fatal(err)
	}
}

func next(t *testing.T, events <-chan Event) Event {
	t.Helper()
	select {
	case e, ok := <-events:
		if !ok {
			t.Fatal("the channel is closed")
		}
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("no event comes")
	}
	return Event{}
}

func TestARegistrationOutlivesTheBus(t *testing.T) {
	c, m := connect(t)
	events, err := c.Register(within(t), Participation{Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	m.restart(func() { m.with(func() { m.registered, m.options = 0, nil }) })
	m.wait(t, func() bool { return m.registered == 1 && m.options["timeout"].Value() == uint64(1e6) })
	// luod tells it again, and what it hears from then on.
	emit(t, m, "PrepareForLiveUpdate", uint64(3), uint64(0))
	if e := next(t, events); !e.Prepare || e.Generation != 3 {
		t.Fatalf("told %+v", e)
	}
	// Prepared, it waits for what is said while there is no bus: nothing as long as the
	// update goes on, and else that it was taken back, once.
	m.restart(func() { m.with(func() { m.registered, m.phase = 0, "packing" }) })
	m.wait(t, func() bool { return m.registered == 1 })
	m.restart(func() { m.with(func() { m.registered, m.phase = 0, "idle" }) })
	if e := next(t, events); e.Prepare || e.Generation != 3 || e.Reason == "" {
		t.Fatalf("told %+v", e)
	}
	m.wait(t, func() bool { return m.registered == 1 }) // before, it hears nothing
	emit(t, m, "Cancelled", uint64(3), "said late")
	emit(t, m, "PrepareForLiveUpdate", uint64(4), uint64(0))
	if e := next(t, events); !e.Prepare || e.Generation != 4 {
		t.Fatalf("told %+v", e)
	}
	// Who has unregistered stays so.
	if err := c.Unregister(within(t)); err != nil {
		t.Fatal(err)
	}
	m.restart(nil)
	if _, err := c.Retrieve(within(t)); err != nil {
		t.Fatal(err)
	}
	for heard := false; !heard; {
		emit(t, m, "PrepareForLiveUpdate", uint64(5), uint64(0))
		select {
		case <-events: // it listens again, and has done what it does then
			heard = true
		case <-time.After(50 * time.Millisecond):
		}
	}
	m.with(func() {
		if m.registered != 0 {
			t.Error("it was registered again")
		}
	})
	c.Close()
	for range events { // ends with the client
	}
}
