// Package burst tells the log what units hand over, in two lines however many calls it takes.
package burst

import (
	"context"
	"time"

	"github.com/liveupdate/luod/luod/internal/state"
)

// Log is told of each call.
type Log struct {
	state *state.State
	// taken are the units that handed something over a moment ago, with how much since the
	// log told of it.
	taken map[string]int
}

// New has told of nothing.
func New(s *state.State) *Log { return &Log{state: s, taken: map[string]int{}} }

// Interval is how often a unit that hands over again and again is in the log.
const Interval = time.Second

// TookLocked logs what a unit handed over: at once, and what comes in the interval after
// that as one line, since dbus-daemon allows few descriptors in a call.
func (l *Log) TookLocked(unit string, count int) {
	if _, more := l.taken[unit]; more {
		l.taken[unit] += count
		return
	}
	l.taken[unit] = 0
	l.state.Log.Info("took file descriptors over", "unit", unit, "count", count)
	l.state.Clock.AfterFunc(Interval, func() {
		unlock, err := l.state.Lock(context.Background())
		if err != nil {
			return
		}
		defer unlock()
		if more := l.taken[unit]; more > 0 {
			l.state.Log.Info("took more file descriptors over", "unit", unit, "count", more)
		}
		delete(l.taken, unit)
	})
}
