package coordinator

import (
	"context"
)

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
