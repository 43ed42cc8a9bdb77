package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/intake"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// way is how the jump is made.
func way(o record.Options) pid1.Way {
	switch {
	case o.Fast:
		return pid1.Fast
	case o.IgnoreInhibitors:
		return pid1.Direct
	}
	return pid1.ByLogind
}

// update is the one that is under way. It belongs to whoever has
// the state, but for what is set when it is made and for err after done.
type update struct {
	options    record.Options
	generation uint64
	ctx        context.Context
	cancel     context.CancelCauseFunc
	// barrier is nil until the services are asked, and passed is closed when
	// it has decided.
	barrier *barrier.Barrier
	passed  chan struct{}
	decided bool
	members map[string]*participant
	// declared is what unit files say; nobody writes to it.
	declared map[string]*unitsection.Section
	// adoption is what PID 1 kept for units, and without what of it stays behind.
	adoption *intake.Intake
	without  []manifest.LeftBehind
	// native is what PID 1 carries.
	native []manifest.Native
	// halted are those that were stopped already, so that their directories and fd
	// stores keep.
	halted []string
	// heldTwice says that a second process holds the sessions, or may.
	heldTwice bool
	// stopTimer stops the wait for the next deadline.
	stopTimer func() bool
	done      chan struct{}
	err       error
}

// LiveUpdate checks, asks the services, packs and triggers the jump. It returns
// the generation that will boot once PID 1 has begun to shut down; before that
// every error means that nothing changed and that what was stopped runs again. The
// update doesn't depend on the caller: it goes on if ctx ends, and only Cancel takes
// it back.
func (c *Coordinator) LiveUpdate(ctx context.Context, options record.Options) (uint64, error) {
	defer c.Units.Hold()()
	if options.DryRun {
		return c.rehearse(ctx, options)
	}
	if !options.When.IsZero() {
		return c.schedule(ctx, options)
	}
	if err := c.inhibited(ctx, options); err != nil {
		return 0, err
	}
	if err := c.able(ctx, options); err != nil {
		return 0, err
	}
	u, err := c.trigger(ctx, options)
	if err != nil {
		return 0, err
	}
	go c.drive(u)
	if options.NoBlock {
		return u.generation, nil
	}
	select {
	case <-u.done:
		if u.err != nil {
			return 0, u.err
		}
		return u.generation, nil
	case <-ctx.Done():
		return 0, fmt.Errorf("the live update goes on, but its caller does not wait for it: %w", ctx.Err())
	}
}

// rehearse does every check that needs nothing to be changed.
func (c *Coordinator) rehearse(ctx context.Context, options record.Options) (uint64, error) {
	if err := c.inhibited(ctx, options); err != nil {
		return 0, err
	}
	if err := c.able(ctx, options); err != nil {
		return 0, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return 0, err
	}
	if err := c.readyLocked(); err != nil {
		unlock()
		return 0, err
	}
	request := c.AgainLocked(loading.Check, options.Override)
	unlock()
	if _, err := c.Ask(ctx, request); err != nil {
		return 0, err
	}
	_, err = c.plan(ctx, options)
	return request.Generation, err
}

// trigger begins an update.
//
// Killed after it: the next start finds the phase, and nothing to undo.
func (c *Coordinator) trigger(ctx context.Context, options record.Options) (*update, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := c.readyLocked(); err != nil {
		return nil, err
	}
	lastError, timeLine, leftBehind := c.Rec.LastError, c.Rec.TimeLine, c.Rec.LeftBehind
	c.Rec.LastError, c.Rec.TimeLine, c.Rec.LeftBehind = "", nil, nil
	c.MarkLocked("trigger", c.Clock.Now())
	c.Vault.Refresh()
	u := &update{options: options, generation: c.Rec.Generation + 1, passed: make(chan struct{}), done: make(chan struct{})}
	if err := c.MoveLocked(phase.Triggered); err != nil {
		c.Rec.LastError, c.Rec.TimeLine, c.Rec.LeftBehind = lastError, timeLine, leftBehind
		_ = c.EnterLocked(c.backLocked())
		return nil, fault.New(errorname.NoRecord, "start a live update: %w", err)
	}
	u.ctx, u.cancel = context.WithCancelCause(context.Background())
	c.update = u
	c.Log.Info("a live update begins", "generation", u.generation, "message", options.Message, catalog.MessageID, catalog.Begins)
	if !options.NoWall {
		c.wall("A live update begins: the system boots another kernel at once, and sessions end.", options.Message)
	}
	return u, nil
}

// drive takes u through its phases, and has the lock for each step.
func (c *Coordinator) drive(u *update) {
	defer close(u.done)
	defer u.cancel(nil)
	defer c.Units.Hold()()
	err := c.advance(u)
	if err == nil || errors.Is(err, state.ErrStopped) {
		u.err = err
		return
	}
	if cause := context.Cause(u.ctx); cause != nil {
		err = cause // rather than what it broke
	}
	if u.heldTwice {
		c.letHoldersGo()
	}
	u.err = c.abort(err)
}

// advance goes through the phases until PID 1 shuts down. Whatever it returns
// has to be taken back.
func (c *Coordinator) advance(u *update) error {
	if err := c.preflight(u); err != nil {
		return err
	}
	plan, err := c.plan(u.ctx, u.options)
	if err != nil {
		return err
	}
	u.declared = plan.declared
	if err := c.prepareHooks(u); err != nil {
		return err
	}
	if err := c.inside(u, func() error { return c.prepareLocked(u, plan.members) }); err != nil {
		return err
	}
	if err := c.wait(u); err != nil {
		return err
	}
	if err := c.adopt(u); err != nil {
		return err
	}
	// With what came out of fd stores, and before anybody is stopped.
	if err := c.roomForAll(u.ctx); err != nil {
		return err
	}
	if err := c.stopFirst(u); err != nil {
		return err
	}
	if u.native, err = c.natives(u); err != nil {
		return err
	}
	var cargo packer.Cargo
	if err := c.insideHoldings(u, func() (err error) { cargo, err = c.beginLocked(u); return err }); err != nil {
		return err
	}
	packing, cancel := context.WithTimeout(u.ctx, packTimeout)
	defer cancel()
	result, err := packer.Pack(packing, c.Kernel, c.Store, cargo)
	if err != nil {
		return fault.New(errorname.PackFailed, "%w", err)
	}
	c.commitHooks(u)
	err = c.last(u)
	if err == nil && u.options.Fast {
		err = c.halt(u, result)
	} else if err == nil {
		err = c.holdTwice(u, result)
	}
	if err == nil {
		err = c.commit(u, result)
	}
	if err != nil {
		c.putAside(result)
	}
	return err
}
