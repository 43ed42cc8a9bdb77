package coordinator

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// delayInterval is how often they are looked at meanwhile.
const delayInterval = 50 * time.Millisecond

// inhibited refuses an update that somebody blocks.
func (c *Coordinator) inhibited(ctx context.Context, options record.Options) error {
	if options.IgnoreInhibitors || c.Inhibitors == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, state.AskTimeout)
	defer cancel()
	list, err := c.Inhibitors(ctx)
	if err != nil {
		return fault.New(errorname.Inhibited, "find out who inhibits a live update: %w; --ignore-inhibitors does without", err)
	}
	var who []string
	for _, i := range list {
		if i.Mode == inhibitors.Block {
			who = append(who, fmt.Sprintf("%s (user %d, process %d): %s", i.Who, i.UID, i.PID, i.Why))
		}
	}
	if len(who) == 0 {
		return nil
	}
	return fault.New(errorname.Inhibited, "no live update now, it is inhibited by %s; wait, or go on in spite of it with --ignore-inhibitors", strings.Join(who, "; and by "))
}

// delay waits for those who wanted to be told first, but no longer than
// InhibitDelayMax from began on.
func (c *Coordinator) delay(u *update, began time.Time) error {
	for c.Inhibitors != nil && !u.options.IgnoreInhibitors && c.Clock.Now().Sub(began) < c.Settings.InhibitDelayMax {
		ctx, cancel := context.WithTimeout(u.ctx, c.Settings.InhibitDelayMax)
		list, err := c.Inhibitors(ctx)
		cancel()
		if err != nil || !slices.ContainsFunc(list, func(i inhibitors.Inhibitor) bool {
			return i.What == inhibitors.LiveUpdate && i.Mode == inhibitors.Delay
		}) {
			return nil
		}
		rang := make(chan struct{})
		c.Clock.AfterFunc(delayInterval, func() { close(rang) })
		select {
		case <-rang:
		case <-u.ctx.Done():
			return context.Cause(u.ctx)
		}
	}
	return nil
}
