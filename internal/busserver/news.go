package busserver

import (
	"reflect"
	"sync"
	"time"

	"github.com/liveupdate/luod/internal/buslink"
)

// sayingDelay is how long the bus hears nothing of a change, so that many in a row
// are one signal. Who asks gets the new value at once.
const sayingDelay = 50 * time.Millisecond

// news is what luod has told, until it is on the bus. luod bounds it.
type news struct {
	// more says that there is some, and first is closed with the first status.
	more, first chan struct{}

	mu     sync.Mutex
	latest buslink.Status
	known  bool
	queue  []buslink.Message
}

// add takes what luod tells; it never blocks.
func (n *news) add(m buslink.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if m.Status != nil {
		n.latest = *m.Status
		if !n.known {
			n.known = true
			close(n.first)
		}
	}
	n.queue = append(n.queue, m)
	select {
	case n.more <- struct{}{}:
	default:
	}
}

// status is the latest.
func (n *news) status() buslink.Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.latest
}

func (n *news) take() []buslink.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	queue := n.queue
	n.queue = nil
	return queue
}

// emitter says on the bus what is new: what changed of the properties, at once if the
// phase is among it, else soon; and signals, before which everything is said that they
// come from.
type emitter struct {
	*serving
	// shown is what the bus has heard, nil before the first, and unsaid what it has not.
	shown, unsaid map[string]any
	soon          <-chan time.Time
}

// emit says what is new until the connection or luod is lost.
func (v *serving) emit() error {
	e := &emitter{serving: v, unsaid: map[string]any{}}
	for {
		select {
		case <-v.news.more:
			if err := e.all(v.news.take()); err != nil {
				return err
			}
		case <-e.soon:
			if err := e.say(); err != nil {
				return err
			}
		case <-v.ctx.Done():
			return v.ctx.Err()
		}
	}
}

func (e *emitter) all(queue []buslink.Message) error {
	emitted := uint64(0)
	for _, m := range queue {
		switch {
		case m.Status != nil:
			if err := e.show(properties(*m.Status)); err != nil {
				return err
			}
		case m.Signal != nil:
			if err := e.say(); err != nil {
				return err
			}
			if err := e.send(m.Signal); err != nil {
				return err
			}
			emitted = m.Signal.Number
		}
	}
	if emitted == 0 {
		return nil
	}
	return e.link.Emitted(emitted)
}

func (e *emitter) show(values map[string]any) error {
	if e.shown == nil { // who asks since the name is there sees it
		e.shown = values
		return nil
	}
	for name, value := range values {
		if !reflect.DeepEqual(e.shown[name], value) {
			e.shown[name], e.unsaid[name] = value, value
		}
	}
	if _, urgent := e.unsaid["Phase"]; urgent {
		return e.say()
	}
	if len(e.unsaid) > 0 && e.soon == nil {
		e.soon = time.After(sayingDelay)
	}
	return nil
}

// say announces all that is unsaid, in one signal.
func (e *emitter) say() error {
	e.soon = nil
	if len(e.unsaid) == 0 {
		return nil
	}
	changed := variants(e.unsaid)
	clear(e.unsaid)
	return e.conn.Emit(Path, propertiesInterface, "PropertiesChanged", Interface, changed, []string{})
}

func (e *emitter) send(s *buslink.Signal) error {
	switch {
	case s.Unit == "":
		return e.conn.Emit(Path, Interface, "PrepareForLiveUpdate", s.Start, s.Generation, s.Deadline)
	case s.Start:
		return e.conn.Emit(unitPath(s.Unit), unitInterface, "PrepareForLiveUpdate", s.Generation, s.Deadline)
	}
	return e.conn.Emit(unitPath(s.Unit), unitInterface, "Cancelled", s.Generation, s.Reason)
}
