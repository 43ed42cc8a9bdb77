package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/hookrun"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Start makes a coordinator of what is left of a predecessor in this boot and of
// what the previous kernel handed over. It owns entries, which are everything
// that came back from the fd store. An error means that luod can't work at all;
// a handover that can't be understood is no error but a degraded status.
func Start(ctx context.Context, config Config, entries []sdnotify.Entry) (*Coordinator, error) {
	if config.Settings == (settings.Settings{}) {
		config.Settings = settings.Default()
	}
	s := state.New(config.Record, config.Log, config.Clock)
	hooks := &hookrun.Runner{State: s, Units: config.Units, There: config.Hooks, Timeout: config.Settings.HookTimeout, Release: config.Machine.Release}
	c := &Coordinator{Config: config, hooks: hooks}
	if c.Memory == nil {
		c.Memory = memory.Now
	}
	c.Holdings = holdings.New(s, holdings.Config{
		Kernel: config.Kernel, Store: config.Store, Units: config.Units, Machine: config.Machine, Settings: config.Settings,
		Memory: c.Memory, History: config.History, Hooks: hooks, Restored: c.restoredLocked,
	})
	c.Kernels = nextkernel.New(s, config.Loader, c.SteadyLocked)
	s.Changed = c.showLocked
	// What is started here and comes back waits until all is restored.
	unlock, err := c.LockHoldings(ctx)
	if err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	defer unlock()
	started := c.Clock.Now()
	old, err := record.Read(c.Path())
	if err != nil {
		// Without it the fd store still tells most; the phase is unknown.
		c.Log.Error("the record of this boot is unreadable", "error", err)
	}
	incoming, outgoing := c.TakeOverLocked(old, entries)
	c.resumeLocked(ctx, outgoing)
	c.BringBackLocked(ctx, old, incoming, started)
	if err := c.SaveLocked(); err != nil {
		c.CloseLocked()
		return nil, err
	}
	c.armLocked()
	c.restoredLocked()
	c.Stores.WatchAllLocked()
	c.ServeLocked()
	return c, nil
}

// restoredLocked does what follows when the record tells of what was restored.
func (c *Coordinator) restoredLocked() {
	c.hooks.PayLocked()
	if c.Rec.Phase == phase.Restoring {
		c.retainLocked()
	}
	c.AccountLocked()
}

// leftover is the outgoing sessions of a killed luod.
type leftover struct {
	store    state.Store
	sessions map[string]*luo.Session
}

func (l leftover) Close() error {
	var failed []error
	for name, s := range l.sessions {
		failed = append(failed, l.store.Remove(name), s.Close())
	}
	return errors.Join(failed...)
}

func (l leftover) Drop() { holdings.CloseAll(l.sessions) }

func (l leftover) Sessions() map[string]*luo.Session { return maps.Clone(l.sessions) }

// resumeLocked goes on where a killed luod stood. A jump that was committed and is
// under way goes on with the sessions kept open; anything else is taken back.
func (c *Coordinator) resumeLocked(ctx context.Context, outgoing map[string]*luo.Session) {
	out := leftover{store: c.Store, sessions: outgoing}
	if c.Rec.Phase == phase.Committed {
		jumping, err := c.Jumper.Jumping(ctx)
		if err != nil {
			// PID 1 doesn't answer while it shuts down: keep everything.
			c.Log.Warn("luod was restarted during a jump and PID 1 does not say whether it goes on; keeping the sessions", "error", err)
		}
		if jumping || err != nil {
			c.outgoing = out
			c.oversee(0)
			c.Log.Warn("luod was restarted after the commit: the live update goes on", "sessions", len(outgoing))
			return
		}
	}
	if c.Rec.Phase == phase.Committed || c.Rec.Phase.Underway() || len(outgoing) > 0 {
		was := c.Rec.Phase
		why := fmt.Errorf("luod was restarted while the update was %s: it was taken back", was)
		c.letHoldersGo()
		if err := out.Close(); err != nil {
			why = errors.Join(why, fmt.Errorf("take the sessions back: %w", err))
		}
		c.takenBackLocked(why)
		if was.Underway() {
			_ = c.EnterLocked(c.backLocked())
		}
	}
	c.reviveLocked()
}
