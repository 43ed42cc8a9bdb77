package patience

import (
	"errors"
	"time"
)

// Limit is how long a file system may take to answer.
const Limit = 10 * time.Second

// ErrSilent says that a file system did not answer in time.
var ErrSilent = errors.New("its file system does not answer: end its server, or unmount it with 'umount -f'")

// Within returns what f does if that takes no longer than limit, and ErrSilent if it does.
// What f uses is then in use as long as it goes on, and may never be used again: neither
// can the thread that it runs in be ended, nor the process.
func Within[T any](limit time.Duration, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	go func() {
		value, err := f()
		results <- result{value, err}
	}()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case r := <-results:
		return r.value, r.err
	case <-late.C:
		var none T
		return none, ErrSilent
	}
}
