package holdings

import (
	"context"
	"slices"
	"strings"
	"time"
)

// warnAfter is when luod says who has not fetched what came through an update.
const warnAfter = 10 * time.Minute

// retainLocked warns of what nobody fetches, and gives it up after RetainSec= if there is
// such a time; both count from luod's start. What the same unit has fetched, or has
// handed over since, stays.
func (h *Holdings) retainLocked() {
	after := func(d time.Duration, f func(units []string)) {
		h.Clock.AfterFunc(d, func() {
			unlock, err := h.Lock(context.Background())
			if err != nil {
				return
			}
			units := h.WaitingLocked()
			unlock()
			if len(units) > 0 {
				f(units)
			}
		})
	}
	after(warnAfter, func(units []string) {
		h.Log.Warn("units have not fetched what came through the live update; it is kept, see 'luoctl list' and 'luoctl discard'", "units", strings.Join(units, " "))
	})
	if h.settings.Retain == 0 {
		return
	}
	after(h.settings.Retain, func(units []string) {
		for _, unit := range units {
			if err := h.giveUpUnfetched(unit); err != nil {
				h.Log.Error("could not give up what was retained for as long as RetainSec= says", "unit", unit, "error", err)
			}
		}
	})
}

// giveUpUnfetched discards what came through an update and unit has not fetched.
func (h *Holdings) giveUpUnfetched(unit string) error {
	ctx := context.Background()
	unlock, err := h.LockHoldings(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	waiting := h.awaitedLocked(unit)
	unfetched := func(name string) bool { return slices.Contains(waiting, name) }
	unreleased := func(string) bool { return true }
	return h.discardLocked(ctx, unit, unfetched, unreleased)
}
