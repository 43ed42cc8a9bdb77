package coordinator

import (
	"context"

	"github.com/liveupdate/luod/luod/internal/state"
)

// patientStore is luod's fd store for whoever has lockHoldings: it waits apart.
type patientStore struct {
	Store
	c *Coordinator
}

// Barrier waits until PID 1 has taken what was pushed, but not for long.
func (s patientStore) Barrier(ctx context.Context) (err error) {
	s.c.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, state.Briefly)
		defer cancel()
		err = s.Store.Barrier(ctx)
	})
	return err
}

// inside runs f with the state, unless u was cancelled.
func (c *Coordinator) inside(u *update, f func() error) error { return during(u, c.Lock, f) }

// insideHoldings is inside with lockHoldings.
func (c *Coordinator) insideHoldings(u *update, f func() error) error {
	return during(u, c.LockHoldings, f)
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
