package state

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/clock"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/record"
)

// State is shared by all owners. Make one with New. What is exported belongs to whoever
// has Lock, but for Background, Log and Clock.
type State struct {
	// Rec is the record of this boot. Whoever changes it saves it.
	Rec record.Record
	// Waiting lists the units that wait for what came through an update, and Changed is
	// called after each change of what the status tells. Both are called with Lock, and
	// neither may call back or block.
	Waiting func() []string
	Changed func()
	// Step is told of each transition before and after it is written down; for tests.
	Step func(from phase.Phase, on phase.Event, written bool)

	Log   *slog.Logger
	Clock clock.Clock
	// Background is what Close waits for.
	Background sync.WaitGroup

	// path is where the record is, and written what is there; nil if that is not known.
	path    string
	written []byte

	state, holdings gate
	closed          chan struct{}
	// served says that others than who starts luod may ask for Lock.
	served bool
}

// ErrStopped is what callers get once Close was called; what they asked for may have
// been done or not.
var ErrStopped error = &fault.Fault{Name: errorname.Stopping, Err: errors.New("luod is stopping")}

// New makes a state whose record is at path, and is empty. Until Serve nobody else has it.
func New(path string, log *slog.Logger, clock clock.Clock) *State {
	return &State{
		Rec: record.Record{Phase: phase.Idle}, path: path, Log: log, Clock: clock, state: newGate(), holdings: newGate(), closed: make(chan struct{}),
		Waiting: func() []string { return []string{} }, Changed: func() {},
	}
}

// ServeLocked lets others have the state from now on.
func (s *State) ServeLocked() { s.served = true }

// CloseLocked has everybody else get ErrStopped from now on.
func (s *State) CloseLocked() { close(s.closed) }

// Closed is closed by CloseLocked.
func (s *State) Closed() <-chan struct{} { return s.closed }

// Path is where the record is.
func (s *State) Path() string { return s.path }

// Later runs f with Lock after d, unless luod is stopping by then.
func (s *State) Later(d time.Duration, f func()) (stop func() bool) {
	return s.Clock.AfterFunc(d, func() { s.With(f) })
}

// With runs f with Lock, unless luod is stopping.
func (s *State) With(f func()) {
	if unlock, err := s.Lock(context.Background()); err == nil {
		defer unlock()
		f()
	}
}

// SaveLocked writes the record and tells of the change. The error matters only before a
// step that can't be undone without the record.
func (s *State) SaveLocked() error {
	s.Rec.Waiting = s.Waiting()
	var err error
	if s.written, err = s.Rec.Write(s.path, s.written); err != nil {
		s.Log.Error("the record of this boot could not be written; a restart of luod may not know what it did", "error", err)
	}
	s.Changed()
	return err
}

// MarkLocked puts a moment into the time line of the update; SaveLocked writes it down.
func (s *State) MarkLocked(name string, at time.Time) {
	s.Rec.TimeLine = append(s.Rec.TimeLine, manifest.Mark{Name: name, Usec: at.UnixMicro()})
}

// EnterLocked makes a transition, for whoever writes it down together with the rest.
func (s *State) EnterLocked(on phase.Event) error {
	to, ok := phase.After(s.Rec.Phase, on)
	if !ok {
		// A mistake of ours. Going on is safer than dying with all that is held.
		s.Log.Error("there is no such transition", "from", s.Rec.Phase, "on", on)
		return fault.New(errorname.Busy, "there is no way from %s on %q", s.Rec.Phase, on)
	}
	s.Rec.Phase = to
	return nil
}

// MoveLocked makes a transition and writes it down before anything is done about it.
// The error is the record's; the phase has changed nevertheless.
//
// Killed before the record is written: the next start finds the phase before,
// and nothing of the new one was done. Killed after: it finds the new phase,
// and takes the update back, or after the commit asks whether it goes on.
func (s *State) MoveLocked(on phase.Event) error {
	from := s.Rec.Phase
	if s.Step != nil {
		s.Step(from, on, false)
	}
	if err := s.EnterLocked(on); err != nil {
		return err
	}
	err := s.SaveLocked()
	if s.Step != nil {
		s.Step(from, on, true)
	}
	return err
}
