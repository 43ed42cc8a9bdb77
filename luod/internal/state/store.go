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

// Patient is the fd store for whoever has LockHoldings: it waits apart, also until PID 1 has
// room for a message.
type Patient struct {
	Store Store
	State *State
}

// Push has PID 1 store files, all in one message.
func (p Patient) Push(name string, files ...*os.File) (err error) {
	p.State.Apart(func() { err = p.Store.Push(name, files...) })
	return err
}

// Remove has PID 1 close what it has of that name.
func (p Patient) Remove(name string) (err error) {
	p.State.Apart(func() { err = p.Store.Remove(name) })
	return err
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
