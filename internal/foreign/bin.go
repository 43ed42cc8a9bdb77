package foreign

import (
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Bin closes what nobody wants. It is safe for concurrent use, and nothing that is asked
// of it waits.
type Bin struct {
	Log *slog.Logger

	// patience is slow unless a test sets it.
	patience time.Duration

	mu sync.Mutex
	// closing is what is being closed, and waiting is next.
	closing map[*closing]bool
	waiting []Descriptor
}

// closing is a close(2) under way. Its number may be another descriptor's by now.
type closing struct {
	d     Descriptor
	since time.Time
}

// maxClosing bounds the threads that hang in a close(2) at once; what is next stays open
// meanwhile, whosever it is.
const maxClosing = 16

// slow is how long a close(2) may take before the log tells of it.
const slow = 10 * time.Second

// Close takes the descriptors over. A file in memory is closed when it returns, and all
// others soon, if whoever is asked answers.
func (b *Bin) Close(list ...Descriptor) {
	unknown := slices.DeleteFunc(slices.Clone(list), func(d Descriptor) bool {
		if _, err := d.Seals(); err != nil {
			return false
		}
		_ = unix.Close(int(d))
		return true
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closing == nil {
		b.closing = map[*closing]bool{}
	}
	b.waiting = append(b.waiting, unknown...)
	for len(b.waiting) > 0 && len(b.closing) < maxClosing {
		go b.work(b.nextLocked())
	}
}

func (b *Bin) slow() time.Duration {
	if b.patience > 0 {
		return b.patience
	}
	return slow
}

// Hangs says whether something can't be closed, and whose process could not end either:
// the kernel closes what it has open, and waits for the same answer.
func (b *Bin) Hangs() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.closing {
		if time.Since(c.since) >= b.slow() {
			return true
		}
	}
	return false
}

// Open counts the descriptors that are still to be closed.
func (b *Bin) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.closing) + len(b.waiting)
}

func (b *Bin) nextLocked() *closing {
	c := &closing{b.waiting[0], time.Now()}
	b.waiting = b.waiting[1:]
	b.closing[c] = true
	return c
}

func (b *Bin) work(c *closing) {
	for c != nil {
		link := c.d.link()
		late := time.AfterFunc(b.slow(), func() {
			b.Log.Warn("a file descriptor that was handed over can't be closed, since its file system does not answer: until it does, luod can't end, nor be restarted; end the server of that file system, or unmount it with 'umount -f'", "file", link)
		})
		_ = unix.Close(int(c.d))
		late.Stop()
		c = b.after(c)
	}
}

// after forgets what is closed and returns what to close now, or nil.
func (b *Bin) after(closed *closing) *closing {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.closing, closed)
	if len(b.waiting) == 0 {
		return nil
	}
	return b.nextLocked()
}
