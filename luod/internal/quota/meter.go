package quota

import (
	"fmt"
	"sync"
	"time"
)

// maxOwners bounds the buckets that are kept.
const maxOwners = 4096

// Exceeded is the error of a call too many.
type Exceeded struct {
	Owner       string
	Rate, Burst int
}

func (e *Exceeded) Error() string {
	return fmt.Sprintf("%s calls luod too often: at most %d times a second, and %d times in a row; try again in a second", e.Owner, e.Rate, e.Burst)
}

// Meter counts calls; concurrent use is safe.
type Meter struct {
	// Rate is how often an owner may call in a second, in the long run, and Burst
	// in a row: with 2000, who hands over 16,384 file descriptors, 16 in each call
	// as dbus-daemon allows, stays below it.
	Rate, Burst int

	mu      sync.Mutex
	buckets map[string]*bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// fill adds what the time has brought; a clock that went back brings nothing.
func (m *Meter) fill(b *bucket, now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(float64(m.Burst), b.tokens+passed.Seconds()*float64(m.Rate))
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
			return &Exceeded{owner, m.Rate, m.Burst}
		}
		if m.buckets == nil {
			m.buckets = map[string]*bucket{}
		}
		b = &bucket{tokens: float64(m.Burst), at: now}
		m.buckets[owner] = b
	}
	m.fill(b, now)
	if b.tokens < 1 {
		return &Exceeded{owner, m.Rate, m.Burst}
	}
	b.tokens--
	return nil
}

// forget drops the buckets that are full again: a new one would be the same.
func (m *Meter) forget(now time.Time) {
	for owner, b := range m.buckets {
		if m.fill(b, now); b.tokens >= float64(m.Burst) {
			delete(m.buckets, owner)
		}
	}
}
