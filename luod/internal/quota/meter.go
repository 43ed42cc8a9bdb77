package quota

import (
	"fmt"
	"sync"
	"time"
)

// The limits of one owner: what hands over 16,384 file descriptors, 16 in each
// call as dbus-daemon allows, stays below the burst.
const (
	CallsPerSecond = 500
	Burst          = 2000
)

// maxOwners bounds the buckets that are kept.
const maxOwners = 4096

// Exceeded is the error of a call too many.
type Exceeded struct{ Owner string }

func (e *Exceeded) Error() string {
	return fmt.Sprintf("%s calls luod too often: at most %d times a second, and %d times in a row; try again in a second", e.Owner, CallsPerSecond, Burst)
}

// Meter counts calls. The zero value works, and concurrent use is safe.
type Meter struct {
	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// fill adds what the time has brought; a clock that went back brings nothing.
func (b *bucket) fill(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(Burst, b.tokens+passed.Seconds()*CallsPerSecond)
	}
	b.at = now
}

// Take counts a call of owner, which is a unit or another name, and returns an
// *Exceeded if it is one too many.
func (m *Meter) Take(owner string, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.buckets[owner]
	if b == nil {
		if len(m.buckets) >= maxOwners {
			m.forget(now)
		}
		if len(m.buckets) >= maxOwners {
			return &Exceeded{owner}
		}
		if m.buckets == nil {
			m.buckets = map[string]*bucket{}
		}
		b = &bucket{tokens: Burst, at: now}
		m.buckets[owner] = b
	}
	b.fill(now)
	if b.tokens < 1 {
		return &Exceeded{owner}
	}
	b.tokens--
	return nil
}

// forget drops the buckets that are full again: a new one would be the same.
func (m *Meter) forget(now time.Time) {
	for owner, b := range m.buckets {
		if b.fill(now); b.tokens >= Burst {
			delete(m.buckets, owner)
		}
	}
}
