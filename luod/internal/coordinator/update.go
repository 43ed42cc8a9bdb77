package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// packTimeout bounds the packing: 100 MiB take about 0.1 s on a slow machine.
const packTimeout = 10 * time.Minute

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

// putAside has abort find what was packed.
func (c *Coordinator) putAside(result *packer.Packed) {
	if unlock, err := c.Lock(context.Background()); err == nil {
		c.outgoing = result
		unlock()
	}
}

// last looks once more, when everything is packed: nobody may have died, or have
// begun to inhibit the update, since.
func (c *Coordinator) last(u *update) error {
	if err := c.inhibited(u.ctx, u.options); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(u.ctx, state.AskTimeout)
	defer cancel()
	var units []string
	if err := c.inside(u, func() error { units = u.barrier.Answering(); return nil }); err != nil {
		return err
	}
	running, err := c.Units.Look(ctx, units)
	if err != nil {
		return fault.New(errorname.NoManager, "find out whether the services still run: %w", err)
	}
	return c.inside(u, func() error {
		if err := c.StillLoadedLocked(); err != nil {
			return err
		}
		c.lookedLocked(u, running)
		if verdict, reason := u.barrier.Verdict(); verdict == barrier.Refused {
			return fault.New(errorname.Vetoed, "a service is no longer ready for a live update: %s", reason)
		}
		return nil
	})
}

// beginLocked starts packing; everybody is ready.
func (c *Coordinator) beginLocked(u *update) (packer.Cargo, error) {
	if err := c.withinLimitsLocked(); err != nil {
		return packer.Cargo{}, err
	}
	cargo := packer.Cargo{
		Verify: u.options.Verify, Now: c.Clock.Now,
		Manifest: manifest.Manifest{
			Generation: u.generation, OldKernel: c.Machine.Release, OldBootID: c.Machine.BootID, Native: u.native,
		},
	}
	for _, s := range u.barrier.Standings() {
		if s.State == barrier.Failed {
			c.Rec.LeftBehind = append(c.Rec.LeftBehind, manifest.LeftBehind{Unit: s.Unit, Reason: s.Reason})
			c.Log.Warn("the live update goes on without a service", "unit", s.Unit, "reason", s.Reason, catalog.MessageID, catalog.LeftBehind)
		}
	}
	c.Rec.LeftBehind = append(c.Rec.LeftBehind, u.without...)
	cargo.Manifest.LeftBehind = c.Rec.LeftBehind
	// What still lies in an incoming session can't go into an outgoing one
	// (EBUSY); the vault holds it, so the session may go.
	c.FinishAllLocked()
	c.MarkLocked("prepared", c.Clock.Now())
	if err := c.MoveLocked(phase.Prepared); err != nil {
		return packer.Cargo{}, fault.New(errorname.NoRecord, "pack: %w", err)
	}
	cargo.Units = c.cargoLocked(u)
	var err error
	// To look at all of it may take a while.
	files := filesOf(cargo.Units)
	c.Apart(func() { cargo.Superset, err = c.room(files) })
	if err != nil {
		return packer.Cargo{}, err
	}
	cargo.Manifest.TimeLine = append(cargo.Manifest.TimeLine, c.Rec.TimeLine...)
	c.Log.Info("packing", "generation", cargo.Manifest.Generation, "units", len(cargo.Units))
	return cargo, nil
}

// readyLocked says why there can be no live update now.
func (c *Coordinator) readyLocked() error {
	if err := c.Kernel.Probe(); err != nil {
		return fault.New(errorname.NotSupported, "no live update is possible: %w", err)
	}
	if err := c.FreeLocked("start a live update"); err != nil {
		return err
	}
	if c.Rec.Degraded != "" {
		return fault.New(errorname.Degraded, "no live update is possible: %s", c.Rec.Degraded)
	}
	if c.UnreadLocked() {
		return fault.New(errorname.NotRestored, "no live update is possible: luod has not seen yet whether the previous kernel handed anything over, because somebody else has /dev/liveupdate open; see 'fuser /dev/liveupdate'")
	}
	if c.holderLeft.Load() {
		return fault.New(errorname.Busy, "no live update now: %s of the last one still holds its sessions, and could not be stopped; luod tries again", pid1.HolderUnit)
	}
	if len(c.Rec.Stopped) > 0 {
		return fault.New(errorname.Busy, "no live update now: services that were stopped for the last one are being started again; try again in a moment")
	}
	if err := c.withinLimitsLocked(); err != nil {
		return err
	}
	if unit, name, is := c.HalfBackLocked(); is {
		return fault.New(errorname.Degraded, "no live update is possible: %q of %s did not come back as it went and lies only in its session, which the update would discard; 'luoctl status' says why, and 'luoctl discard %s' gives it up", name, unit, unit)
	}
	if waiting := c.UnreleasedLocked(); len(waiting) > 0 {
		return fault.New(errorname.SessionWaiting, "no live update is possible: the session %q of %s came through the last one and is not released; what is in it would be lost", waiting[0].Name, waiting[0].Unit)
	}
	loaded, err := c.Loader.Loaded()
	if err != nil {
		return &fault.Fault{Name: errorname.LoadFailed, Err: err}
	}
	switch {
	case !loaded:
		return fault.New(errorname.NoKernelLoaded, "no live update is possible: no kernel is loaded; load one with 'luoctl load'")
	case c.Rec.Loaded == nil:
		return fault.New(errorname.ForeignKernel, "no live update is possible: the loaded kernel was not loaded by luod, so its command line and its ability to take memory over are unknown; load one with 'luoctl load'")
	case c.Rec.Loaded.Generation != c.Rec.Generation+1:
		return fault.New(errorname.ForeignKernel, "no live update is possible: the loaded kernel was meant for generation %d and the next is %d; load it again", c.Rec.Loaded.Generation, c.Rec.Generation+1)
	}
	return nil
}

// able is ready, and what takes a while: whether luod and what others hold would live
// until the jump, and whether the memory is enough.
func (c *Coordinator) able(ctx context.Context, options record.Options) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	err = c.readyLocked()
	unlock()
	if err != nil {
		return err
	}
	look, cancel := context.WithTimeout(ctx, state.Briefly)
	defer cancel()
	if err := c.Jumper.Check(look, options.Fast); err != nil {
		return fault.New(errorname.WouldNotSurvive, "no live update is possible: %w", err)
	}
	return c.roomForAll(ctx)
}

// Cancel takes back the update that is under way, or else the one that is
// scheduled. After the commit it is too late.
func (c *Coordinator) Cancel(ctx context.Context, reason string) error {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	switch {
	case c.Rec.Phase == phase.Committed:
		return fault.New(errorname.TooLate, "cancel the live update: it is committed, and PID 1 shuts the system down; 'systemctl cancel' may still stop that")
	case c.Rec.Phase.Underway() && c.update != nil:
		c.update.cancel(fault.New(errorname.Cancelled, "the live update was cancelled: %s", reason))
	case c.Rec.Schedule != nil:
		c.Rec.Schedule = nil
		c.armLocked()
		c.Log.Info("the scheduled live update was cancelled", "reason", reason)
		return c.SaveLocked()
	default:
		return fault.New(errorname.NothingToCancel, "cancel the live update: none is under way or scheduled")
	}
	return nil
}

// commit triggers the jump. What it returns has to be taken back.
//
// Killed before the record says "committed": the next start takes everything
// back. Killed after: the next start asks PID 1 whether a shutdown is under way,
// and keeps the sessions or takes them back.
func (c *Coordinator) commit(u *update, result *packer.Packed) error {
	if err := c.inside(u, func() error {
		c.outgoing = result
		c.Rec.TimeLine = result.Manifest.TimeLine
		if err := c.StillLoadedLocked(); err != nil {
			return err
		}
		on := phase.Packed
		if u.options.Fast {
			on = phase.Stopped
		}
		if err := c.MoveLocked(on); err != nil {
			return fault.New(errorname.NoRecord, "commit the live update: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	// Not u's context: from now on nobody can cancel it.
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	problems, err := c.Jumper.Jump(ctx, way(u.options))
	if err != nil {
		return fault.New(errorname.JumpFailed, "start the jump: %w", err)
	}
	c.Log.Info("committed: the system boots the loaded kernel", "generation", u.generation, "fast", u.options.Fast, catalog.MessageID, catalog.Committed)
	go c.await(problems)
	return nil
}

// await takes the update back if the jump does not happen.
func (c *Coordinator) await(problems <-chan error) {
	switch problem := <-problems; {
	case errors.Is(problem, pid1.ErrHungUp):
		c.oversee(0)
	case problem != nil:
		c.giveUp(fault.New(errorname.JumpFailed, "the jump did not happen: %w", problem))
	}
}

// giveUp takes a committed update back.
func (c *Coordinator) giveUp(why error) {
	c.letHoldersGo()
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return
	}
	committed := c.Rec.Phase == phase.Committed
	unlock()
	if committed {
		_ = c.abort(why)
	}
}

// abort takes the update back and returns why, with what could not be undone. What was
// packed is let go of without the lock, since the kernel takes its time for that; the
// phase changes afterwards, so that nobody begins anything meanwhile.
func (c *Coordinator) abort(why error) error {
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return err
	}
	outgoing := c.outgoing
	c.outgoing = nil
	unlock()
	if outgoing != nil {
		if err := outgoing.Close(); err != nil {
			why = errors.Join(why, fmt.Errorf("take the sessions back: %w", err))
		}
	}
	if unlock, err = c.Lock(context.Background()); err != nil {
		return err
	}
	defer unlock()
	c.takenBackLocked(why)
	_ = c.MoveLocked(c.backLocked())
	c.hooks.PayLocked()
	c.reviveLocked()
	c.Stores.WatchAllLocked()
	return why
}

// takenBackLocked forgets the update, and tells everybody who has heard of it; the phase
// is the caller's.
func (c *Coordinator) takenBackLocked(why error) {
	if u := c.update; u != nil {
		c.quietLocked(u)
		u.adoption.Close()
	}
	c.Copying = nil
	c.unhookLocked(why.Error())
	if u := c.update; u != nil && !u.options.NoWall {
		c.wall("The live update was taken back, and the system runs on.", why.Error())
	}
	c.update = nil
	c.tellLocked(c.Rec.Asked, why.Error())
	c.Rec.LastError, c.Rec.Asked = why.Error(), nil
	c.Log.Error("the live update was taken back", "reason", why, "generation", c.Rec.Generation+1, catalog.MessageID, catalog.TakenBack)
}

// backLocked is how an update that is taken back ends.
func (c *Coordinator) backLocked() phase.Event {
	if _, is := phase.After(c.Rec.Phase, phase.Resumed); is && !c.AllFetchedLocked() {
		return phase.Resumed
	}
	return phase.TakenBack
}

// unhookLocked has the hooks told that the update of which they heard was taken back.
func (c *Coordinator) unhookLocked(reason string) {
	if c.Rec.Hooked {
		c.Rec.Hooked = false
		c.hooks.OweLocked("cancel", c.Rec.Generation+1, "LUOD_REASON="+reason)
	}
}

// wall tells whoever is logged in.
func (c *Coordinator) wall(text, message string) {
	if c.Wall == nil {
		return
	}
	if message != "" {
		text += "\n" + message
	}
	c.Wall(text)
}

// tellLocked says to units, and to everybody, that the update was taken back.
func (c *Coordinator) tellLocked(units []string, reason string) {
	for _, unit := range units {
		c.announce(Signal{Unit: unit, Generation: c.Rec.Generation + 1, Reason: reason})
	}
	if units != nil {
		c.announce(Signal{Generation: c.Rec.Generation + 1, Reason: reason})
	}
}
