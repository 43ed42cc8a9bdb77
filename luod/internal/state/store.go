package state

import (
	"context"
	"os"
)

// Store is luod's own fd store.
type Store interface {
	Push(name string, files ...*os.File) error
	Remove(name string) error
	Barrier(ctx context.Context) error
}

// Patient is the fd store for whoever has LockHoldings: it waits apart.
type Patient struct {
	Store
	State *State
}

// Barrier waits until PID 1 has taken what was pushed, for Briefly at most.
func (p Patient) Barrier(ctx context.Context) (err error) {
	p.State.Apart(func() {
		ctx, cancel := context.WithTimeout(ctx, Briefly)
		defer cancel()
		err = p.Store.Barrier(ctx)
	})
	return err
}
