package buslink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/liveupdate/luod/internal/foreign"
)

// ErrLost says that luod is gone: what was asked it may have done or not.
var ErrLost = errors.New("luod has gone away; it may have done it or not: ask again")

// Link is luod-bus's side: calls, and what luod has to tell.
type Link struct {
	socket *Socket
	bin    *foreign.Bin
	news   func(Message)
	done   chan struct{}

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan answer
	lost    bool
}

type answer struct {
	message     Message
	descriptors []foreign.Descriptor
}

// NewLink takes over socket. bin takes descriptors that nobody wants, and news is called
// with each Status and Signal of luod, in order; it must not block.
func NewLink(socket *Socket, bin *foreign.Bin, news func(Message)) *Link {
	l := &Link{socket: socket, bin: bin, news: news, done: make(chan struct{}), waiting: map[uint64]chan answer{}}
	go l.read()
	return l
}

// Done is closed when luod is gone.
func (l *Link) Done() <-chan struct{} { return l.done }

// Close hangs up.
func (l *Link) Close() { l.socket.Close() }

func (l *Link) read() {
	for {
		m, descriptors, err := l.socket.Receive()
		if err != nil {
			l.bin.Close(descriptors...)
			break
		}
		if m.Number == 0 {
			l.bin.Close(descriptors...)
			l.news(m)
			continue
		}
		l.mu.Lock()
		to := l.waiting[m.Number]
		delete(l.waiting, m.Number)
		if to != nil {
			to <- answer{m, descriptors} // it has room
		}
		l.mu.Unlock()
		if to == nil {
			l.bin.Close(descriptors...)
		}
	}
	l.socket.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = true
	for number, to := range l.waiting {
		close(to)
		delete(l.waiting, number)
	}
	close(l.done)
}

// Ask passes a call on, with descriptors that it borrows (the caller's pidfd first, if
// there is one), and stores what luod returns in result, which may be nil. The caller owns
// the descriptors that come back. A refusal of luod's is an *Error, and ErrLost says that
// there is no answer and will be none.
func (l *Link) Ask(ctx context.Context, method string, caller *Caller, arguments, result any, descriptors ...int) ([]foreign.Descriptor, error) {
	m := Message{Method: method, Caller: caller}
	var err error
	if names, are := arguments.(Names); are {
		m.Names = names.Names
	} else if arguments != nil {
		if m.Arguments, err = json.Marshal(arguments); err != nil {
			return nil, fmt.Errorf("ask luod for %s: %w", method, err)
		}
	}
	to := make(chan answer, 1)
	l.mu.Lock()
	if l.lost {
		l.mu.Unlock()
		return nil, ErrLost
	}
	l.last++
	m.Number = l.last
	l.waiting[m.Number] = to
	l.mu.Unlock()
	if err := l.socket.Send(m, descriptors...); err != nil {
		l.forget(m.Number, to)
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	select {
	case a, is := <-to:
		if !is {
			return nil, ErrLost
		}
		return l.take(a, result)
	case <-ctx.Done():
		l.forget(m.Number, to)
		return nil, fmt.Errorf("ask luod for %s: %w", method, ctx.Err())
	}
}

// forget has nobody wait for an answer any more, and closes what has come with it.
func (l *Link) forget(number uint64, to chan answer) {
	l.mu.Lock()
	delete(l.waiting, number)
	l.mu.Unlock()
	select {
	case a := <-to:
		l.bin.Close(a.descriptors...)
	default:
	}
}

func (l *Link) take(a answer, result any) ([]foreign.Descriptor, error) {
	if a.message.Error != nil {
		l.bin.Close(a.descriptors...)
		return nil, a.message.Error
	}
	if names, are := result.(*Names); are {
		names.Names = a.message.Names
	} else if result != nil {
		if err := json.Unmarshal(a.message.Result, result); err != nil {
			l.bin.Close(a.descriptors...)
			return nil, fmt.Errorf("read luod's answer: %w", err)
		}
	}
	return a.descriptors, nil
}

// Emitted tells luod that all signals up to number are on the bus.
func (l *Link) Emitted(number uint64) error { return l.socket.Send(Message{Emitted: number}) }
