package busbackend

import (
	"sync"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

const (
	// maxSignals bounds the signals that are not known to be on a bus. Far more units than
	// that can't be told anything in one update.
	maxSignals = 16384
	// maxStatuses bounds what waits for a luod-bus that is slow; then the rest is one.
	maxStatuses = 64
)

// news is what luod-bus is to say, to all that are connected. Nothing that is done with it
// waits.
type news struct {
	mu sync.Mutex
	// last numbers the signals, and pending are those that no luod-bus has said to be on
	// the bus: the next one is told them again.
	last    uint64
	pending []buslink.Signal
	links   map[*outbox]bool
	// latest is the last that Changed was told, and told how often it was.
	latest coordinator.Status
	told   int
}

// outbox is what one connection is to be told.
type outbox struct {
	queue    []buslink.Message
	statuses int
	// more says that there is something.
	more chan struct{}
}

// count is how often Changed was told something.
func (n *news) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.told
}

// begin has o told of all that is new, after status, unless Changed was told another since
// the count was told.
func (n *news) begin(o *outbox, status coordinator.Status, told int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links == nil {
		n.links = map[*outbox]bool{}
	}
	o.more = make(chan struct{}, 1)
	if n.told != told {
		status = n.latest
	}
	n.links[o] = true
	o.addStatus(status)
	for _, s := range n.pending {
		o.add(buslink.Message{Signal: &s})
	}
}

func (n *news) end(o *outbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.links, o)
}

func (n *news) emitted(number uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(n.pending) > 0 && n.pending[0].Number <= number {
		n.pending = n.pending[1:]
	}
}

// Changed shows a new status. It never blocks.
func (s *Server) Changed(status coordinator.Status) {
	n := &s.news
	n.mu.Lock()
	defer n.mu.Unlock()
	n.latest = status
	n.told++
	for o := range n.links {
		o.addStatus(status)
	}
}

// Announce has services told something, as soon as there is a bus, in order. It never
// blocks.
func (s *Server) Announce(signal coordinator.Signal) {
	n := &s.news
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last++
	told := buslink.Signal{Number: n.last, Unit: signal.Unit, Start: signal.Start, Generation: signal.Generation, Deadline: monotonic(signal.Deadline), Reason: signal.Reason}
	if len(n.pending) >= maxSignals {
		n.pending = n.pending[1:]
	}
	n.pending = append(n.pending, told)
	for o := range n.links {
		o.add(buslink.Message{Signal: &told})
	}
}

// add is called by whoever has the lock of the news.
func (o *outbox) add(m buslink.Message) {
	if len(o.queue) >= maxSignals+maxStatuses {
		o.queue = o.queue[1:]
	}
	o.queue = append(o.queue, m)
	select {
	case o.more <- struct{}{}:
	default:
	}
}

// addStatus leaves out the one before if nothing is lost by it: if the phase is the same,
// or too many wait already.
func (o *outbox) addStatus(s coordinator.Status) {
	status := Status(s)
	if n := len(o.queue); n > 0 {
		if last := o.queue[n-1].Status; last != nil && (last.Phase == status.Phase || o.statuses >= maxStatuses) {
			o.queue[n-1].Status = &status
			return
		}
	}
	o.statuses++
	o.add(buslink.Message{Status: &status})
}

func (n *news) take(o *outbox) []buslink.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	queue := o.queue
	o.queue, o.statuses = nil, 0
	return queue
}

// tell tells the peer what is new until the connection ends.
func (l *link) tell() {
	for {
		select {
		case <-l.box.more:
		case <-l.ctx.Done():
			return
		}
		if l.tellAll() != nil {
			return
		}
	}
}

// tellAll tells all that there is now.
func (l *link) tellAll() error {
	l.telling.Lock()
	defer l.telling.Unlock()
	for _, m := range l.news.take(&l.box) {
		if err := l.socket.Send(m); err != nil {
			return err
		}
	}
	return nil
}
