package coordinator

import (
	"context"
	"strings"
	"time"
)

// warnAfter is when luod says who has not fetched what came through an update.
const warnAfter = 10 * time.Minute

// retainLocked warns of what nobody fetches, and gives it up after RetainSec= if there is
// such a time; both count from luod's start. What the same unit has fetched, or has
// handed over since, stays.
func (c *Coordinator) retainLocked() {
	after := func(d time.Duration, f func(units []string)) {
		c.Clock.AfterFunc(d, func() {
			unlock, err := c.Lock(context.Background())
			if err != nil {
				return
			}
			units := c.WaitingLocked()
			unlock()
			if len(units) > 0 {
				f(units)
			}
		})
	}
	after(warnAfter, func(units []string) {
		c.Log.Warn("units have not fetched what came through the live update; it is kept, see 'luoctl list' and 'luoctl discard'", "units", strings.Join(units, " "))
	})
	if c.Settings.Retain == 0 {
		return
	}
	after(c.Settings.Retain, func(units []string) {
		for _, unit := range units {
			if err := c.GiveUpUnfetched(unit); err != nil {
				c.Log.Error("could not give up what was retained for as long as RetainSec= says", "unit", unit, "error", err)
			}
		}
	})
}
