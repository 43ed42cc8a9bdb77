package coordinator

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
			return errStopped
		default:
			return nil
		}
	case <-closed:
		return errStopped
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (g gate) leave() { <-g }

// lock waits until nobody else has the state; whoever has it may call what ends in
// Locked, until unlock. Nothing under it waits for PID 1, the bus, a disk or whoever has
// the device open: the record, which is written under it since each step has to be
// written down before it is made, is in memory (/run), and what the kernel is asked it
// answers at once. The error is errStopped, or ctx's cause.
func (c *Coordinator) lock(ctx context.Context) (unlock func(), err error) {
	if err := c.state.enter(ctx, c.closed); err != nil {
		return nil, err
	}
	return c.state.leave, nil
}

// lockHoldings is lock for whoever changes what luod holds: the vault, incoming,
// sessions, and what the record tells of them. Those come one after the other, since
// what goes to PID 1's fd store has to be there before it counts, and each may wait for
// that (apart) while others have the state. No cargo is collected meanwhile either.
func (c *Coordinator) lockHoldings(ctx context.Context) (unlock func(), err error) {
	if err := c.holdings.enter(ctx, c.closed); err != nil {
		return nil, err
	}
	if err := c.state.enter(ctx, c.closed); err != nil {
		c.holdings.leave()
		return nil, err
	}
	return func() { c.state.leave(); c.holdings.leave() }, nil
}

// apart runs f without the state, which others may have meanwhile, as sync.Cond.Wait
// does. The caller has lockHoldings: what luod holds is the same afterwards, and f may
// look at it, but not at the rest.
func (c *Coordinator) apart(f func()) {
	if !c.served {
		f()
		return
	}
	c.state.leave()
	defer func() { c.state <- struct{}{} }()
	f()
}

// briefly bounds what is asked of PID 1: it answers in milliseconds or is in trouble.
const briefly = 20 * time.Second

// patientStore is luod's fd store for whoever has lockHoldings: it waits apart.
type patientStore struct {
	Store
	c *Coordinator
}

// Barrier waits until PID 1 has taken what was pushed, but not for long.
func (s patientStore) Barrier(ctx context.Context) (err error) {
	s.c.apart(func() {
		ctx, cancel := context.WithTimeout(ctx, briefly)
		defer cancel()
		err = s.Store.Barrier(ctx)
	})
	return err
}

// inside runs f with the state, unless u was cancelled.
func (c *Coordinator) inside(u *update, f func() error) error { return during(u, c.lock, f) }

// insideHoldings is inside with lockHoldings.
func (c *Coordinator) insideHoldings(u *update, f func() error) error {
	return during(u, c.lockHoldings, f)
}

func during(u *update, lock func(context.Context) (func(), error), f func() error) error {
	unlock, err := lock(u.ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := context.Cause(u.ctx); err != nil {
		return err
	}
	return f()
}
