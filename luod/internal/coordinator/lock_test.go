package coordinator

import (
	"context"
	"runtime"
)

// die ends c as a kill in the middle of a step does: nothing of this goroutine goes on,
// and nobody gets the state any more.
func die(c *Coordinator) {
	c.CloseLocked()
	runtime.Goexit()
}

// aside runs f in a goroutine of its own, in which luod may die.
func aside(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	<-done
}

// locked runs f with the state.
func locked[T any](ctx context.Context, c *Coordinator, f func() (T, error)) (T, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		var zero T
		return zero, err
	}
	defer unlock()
	return f()
}
