package state

import (
	"context"
	"time"
)

// gate lets one in at a time, and whoever waits for it can give up.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

// enter waits for its turn, for ctx, or for closed.
func (g gate) enter(ctx context.Context, closed <-chan struct{}) error {
	select {
	case g <- struct{}{}:
		select {
		case <-closed:
			g.leave()
			return ErrStopped
		default:
			return nil
		}
	case <-closed:
		return ErrStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// Lock waits until nobody else has the state; whoever has it may call what ends in
// Locked, until unlock. Nothing under it waits for PID 1, the bus, a disk or whoever has
// the device open: the record, which is written under it since each step has to be
// written down before it is made, is in memory (/run), and what the kernel is asked it
// answers at once. The error is ErrStopped, or ctx's cause.
func (s *State) Lock(ctx context.Context) (unlock func(), err error) {
	if err := s.state.enter(ctx, s.closed); err != nil {
		return nil, err
	}
	return s.state.leave, nil
}

// LockHoldings is Lock for whoever changes what luod holds: what units have
// handed over or wait for, their sessions, and what the record tells of it. Those come one after the other, since
// what goes to PID 1's fd store has to be there before it counts, and each may wait for
// that (Apart) while others have the state. No cargo is collected meanwhile either.
func (s *State) LockHoldings(ctx context.Context) (unlock func(), err error) {
	if err := s.holdings.enter(ctx, s.closed); err != nil {
		return nil, err
	}
	if err := s.state.enter(ctx, s.closed); err != nil {
		s.holdings.leave()
		return nil, err
	}
	return func() { s.state.leave(); s.holdings.leave() }, nil
}

// Apart runs f without the state, which others may have meanwhile, as sync.Cond.Wait
// does. The caller has LockHoldings: what luod holds is the same afterwards, and f may
// look at it, but not at the rest.
func (s *State) Apart(f func()) {
	if !s.served {
		f()
		return
	}
	s.state.leave()
	defer func() { s.state <- struct{}{} }()
	f()
}

// Briefly bounds what is asked of PID 1: it answers in milliseconds or is in trouble.
const Briefly = 20 * time.Second

// AskTimeout bounds what logind or PID 1 are asked before an update: they answer in
// milliseconds or are in trouble.
const AskTimeout = 30 * time.Second
