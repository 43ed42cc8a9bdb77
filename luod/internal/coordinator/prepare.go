package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// Units is what PID 1 says of services.
type Units interface {
	// Hold makes what is asked until the release cheaper.
	Hold() (release func())
	// Services lists those that run, or have stopped with something in their fd
	// stores, and whose unit files contain word, with these.
	Services(ctx context.Context, word string) ([]pid1.Service, error)
	// Known tells of a unit, which may not exist.
	Known(ctx context.Context, unit string) (pid1.Known, error)
	// Look tells of each of these whether it runs.
	Look(ctx context.Context, units []string) (map[string]pid1.Running, error)
	// Stores tells what is in their fd stores.
	Stores(ctx context.Context, units []string) (map[string]pid1.Store, error)
	// Reissues tells what PID 1 will do for luod-reissue when they start.
	Reissues(ctx context.Context, units []string) (map[string]pid1.Reissue, error)
	// Run runs a program with its privileges, and waits for it.
	Run(ctx context.Context, p pid1.Program) error
	// Active lists what runs, and could be started again, of units and of what goes
	// down with them.
	Active(ctx context.Context, units []string) ([]string, error)
	// Stop stops all of units with what would start them again, and Start starts
	// those that don't run; both wait.
	Stop(ctx context.Context, units []string) error
	Start(ctx context.Context, units []string) error
	// Pin has PID 1 keep what it has for units while they are stopped, until Unpin.
	Pin(ctx context.Context, units []string) error
	Unpin(ctx context.Context) error
	// StartHolder starts a second process that holds the sessions, and returns when it
	// has all of them. StopHolder ends it; it is no error if there is none.
	StartHolder(ctx context.Context) error
	StopHolder(ctx context.Context) error
}

// participant is a service that takes part in an update.
type participant struct {
	barrier.Member
	invocation string
}

// watchInterval is how often PID 1 is asked whether services that are being
// prepared still run.
const watchInterval = 500 * time.Millisecond

// prepareLocked announces the update; the services' turns come next.
func (c *Coordinator) prepareLocked(u *update, members []*participant) error {
	b, err := c.fence(members)
	if err != nil {
		return err
	}
	u.barrier, u.members = b, map[string]*participant{}
	c.Rec.Asked = []string{}
	for _, m := range members {
		u.members[m.Unit] = m
		c.Rec.Asked = append(c.Rec.Asked, m.Unit)
	}
	c.MarkLocked("checked", c.Clock.Now())
	if err := c.MoveLocked(phase.Checked); err != nil {
		return fault.New(errorname.NoRecord, "prepare the services: %w", err)
	}
	c.watch(u)
	c.announce(Signal{Start: true, Generation: u.generation, Deadline: c.Clock.Now().Add(c.Settings.PrepareTimeout)})
	c.turnsLocked(u)
	return nil
}

// turnsLocked tells everybody whose turn it is now, notices the verdict, and waits for
// the next deadline.
func (c *Coordinator) turnsLocked(u *update) {
	if c.Rec.Phase != phase.Preparing || u != c.update {
		return
	}
	for _, unit := range u.barrier.Turns(c.Clock.Now()) {
		c.inviteLocked(u, unit)
	}
	c.quietLocked(u)
	verdict, reason := u.barrier.Verdict()
	switch verdict {
	case barrier.Refused:
		u.cancel(fault.New(errorname.Vetoed, "a service is not ready for a live update: %s", reason))
	case barrier.Passed:
		if !u.decided {
			u.decided = true
			close(u.passed)
		}
	case barrier.Closed:
		if next := u.barrier.Next(); !next.IsZero() {
			u.stopTimer = c.Clock.AfterFunc(next.Sub(c.Clock.Now()), func() {
				_ = c.inside(u, func() error { c.expireLocked(u); return nil })
			})
		}
	}
	_ = c.SaveLocked()
}

// inviteLocked tells one unit that it is its turn.
func (c *Coordinator) inviteLocked(u *update, unit string) {
	if deadline, is := u.barrier.Turn(unit); is {
		c.announce(Signal{Unit: unit, Start: true, Generation: u.generation, Deadline: deadline})
	}
}

func (c *Coordinator) expireLocked(u *update) {
	if u == c.update && c.Rec.Phase == phase.Preparing {
		u.barrier.Expire(c.Clock.Now())
		c.turnsLocked(u)
	}
}

// quietLocked stops the wait for a deadline.
func (c *Coordinator) quietLocked(u *update) {
	if u.stopTimer != nil {
		u.stopTimer()
		u.stopTimer = nil
	}
}

// watch looks from time to time whether the services still run, as long as some
// are being prepared or others delay the update.
func (c *Coordinator) watch(u *update) {
	c.Clock.AfterFunc(watchInterval, func() {
		if u.ctx.Err() == nil && c.survey(u) {
			c.watch(u)
		}
	})
}

// survey looks once, and says whether to go on.
func (c *Coordinator) survey(u *update) bool {
	var units []string
	preparing := false
	err := c.inside(u, func() error {
		if preparing = u == c.update && c.Rec.Phase == phase.Preparing; preparing {
			units = u.barrier.Answering()
		}
		return nil
	})
	if err != nil || !preparing {
		return false
	}
	ctx, cancel := context.WithTimeout(u.ctx, 10*time.Second)
	defer cancel()
	running, err := c.Units.Look(ctx, units)
	if err != nil {
		return true // PID 1 is busy; the deadlines still hold
	}
	return c.inside(u, func() error {
		if u == c.update && c.Rec.Phase == phase.Preparing {
			c.lookedLocked(u, running)
			c.turnsLocked(u)
		}
		return nil
	}) == nil
}

// lookedLocked fails who died, and who was started anew after having said Ready, since
// the new process isn't.
func (c *Coordinator) lookedLocked(u *update, running map[string]pid1.Running) {
	for _, unit := range slices.Sorted(maps.Keys(running)) {
		r, m := running[unit], u.members[unit]
		if m == nil || slices.Contains(u.halted, unit) {
			continue
		}
		switch {
		case !r.Runs():
			_ = u.barrier.Fail(unit, fmt.Sprintf("it stopped (%s) before the update", r.State))
		case r.InvocationID != m.invocation && r.InvocationID != "":
			m.invocation = r.InvocationID
			if _, turn := u.barrier.Turn(unit); turn {
				c.inviteLocked(u, unit)
			} else {
				_ = u.barrier.Fail(unit, "it was started anew after it had said Ready")
			}
		}
	}
}

// wait waits for the verdict, and for those who want to delay it.
func (c *Coordinator) wait(u *update) error {
	began := c.Clock.Now()
	select {
	case <-u.passed:
		return c.delay(u, began)
	case <-u.ctx.Done():
		return context.Cause(u.ctx)
	}
}

// Ready notes that a service has quiesced and handed everything over.
func (c *Coordinator) Ready(ctx context.Context, unit string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := c.askedLocked(unit, "say Ready")
	if err != nil {
		return err
	}
	if err := u.barrier.Ready(unit, c.Clock.Now()); err != nil {
		return notTaken(unit, "say Ready", err)
	}
	c.Log.Info("a service is ready", "unit", unit)
	c.turnsLocked(u)
	return nil
}

// Fail notes that a service can't take part now.
func (c *Coordinator) Fail(ctx context.Context, unit, reason string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	u, err := c.askedLocked(unit, "say Fail")
	if err != nil {
		return err
	}
	if err := u.barrier.Fail(unit, "it says: "+reason); err != nil {
		return notTaken(unit, "say Fail", err)
	}
	c.Log.Warn("a service refuses the live update", "unit", unit, "reason", reason)
	c.turnsLocked(u)
	return nil
}

// askedLocked returns the update whose services are being prepared.
func (c *Coordinator) askedLocked(unit, what string) (*update, error) {
	u := c.update
	if u == nil || u.barrier == nil || c.Rec.Phase != phase.Preparing {
		return nil, fault.New(errorname.NotPreparing, "%s: no live update is being prepared (%s is told when one is)", what, unit)
	}
	return u, nil
}

func notTaken(unit, what string, err error) error {
	name := errorname.NotPreparing
	switch {
	case errors.Is(err, barrier.ErrNotYet):
		name = errorname.NotYet
	case errors.Is(err, barrier.ErrTooLate):
		name = errorname.TooLate
	}
	return fault.New(name, "%s for %s: %w", what, unit, err)
}

// standingsLocked is the progress for the status.
func (c *Coordinator) standingsLocked() []barrier.Standing {
	if c.update == nil || c.update.barrier == nil {
		return nil
	}
	return c.update.barrier.Standings()
}

// Remind tells everybody whose turn it is once more.
func (c *Coordinator) Remind(ctx context.Context) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if u := c.update; u != nil && u.barrier != nil && c.Rec.Phase == phase.Preparing {
		for _, unit := range u.barrier.Answering() {
			c.inviteLocked(u, unit)
		}
	}
	return nil
}
