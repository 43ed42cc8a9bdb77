package bus

import (
	"context"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// maxKnown bounds how many callers' pidfds are kept.
const maxKnown = 64

// known are the callers that the bus has told of on one connection of ours, so
// that it need not be asked for each call of a caller that calls again and again. A
// bus never gives a unique name twice, and what it says of the process behind one
// never changes; the process's unit is another matter and is never kept.
type known struct {
	// ask is asked about those who aren't known.
	ask func(ctx context.Context, sender string) (credentials, error)

	mu     sync.Mutex
	byName map[string]credentials
	// order is that in which they became known.
	order []string
}

func newKnown(ask func(ctx context.Context, sender string) (credentials, error)) *known {
	return &known{ask: ask, byName: map[string]credentials{}}
}

// identify tells who sender is. The caller closes pidfd.
func (k *known) identify(ctx context.Context, sender string) (credentials, error) {
	if c, is, err := k.find(sender); is || err != nil {
		return c, err
	}
	c, err := k.ask(ctx, sender)
	if err == nil {
		k.keep(sender, c)
	}
	return c, err
}

func (k *known) find(sender string) (c credentials, is bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c, is = k.byName[sender]; is {
		c.pidfd, err = duplicate(c.pidfd)
	}
	return c, is, err
}

// keep borrows c's pidfd and keeps a duplicate, in place of the oldest if there are
// too many. Without a duplicate nothing is kept.
func (k *known) keep(sender string, c credentials) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, is := k.byName[sender]; is || k.byName == nil {
		return
	}
	pidfd, err := duplicate(c.pidfd)
	if err != nil {
		return
	}
	c.pidfd = pidfd
	k.byName[sender] = c
	k.order = append(k.order, sender)
	if len(k.order) > maxKnown {
		unix.Close(k.byName[k.order[0]].pidfd)
		delete(k.byName, k.order[0])
		k.order = k.order[1:]
	}
}

func (k *known) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, c := range k.byName {
		unix.Close(c.pidfd)
	}
	k.byName, k.order = nil, nil
}

func duplicate(fd int) (int, error) {
	d, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate a caller's pidfd: %w", err)
	}
	return d, nil
}
