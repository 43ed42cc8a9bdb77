package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/packer"
)

// packTimeout bounds the packing: 100 MiB take about 0.1 s on a slow machine.
const packTimeout = 10 * time.Minute

// Unload unloads whatever kernel is loaded.
func (c *Coordinator) Unload(ctx context.Context) error {
	_, err := do(ctx, c, func() (any, error) {
		if err := c.free("unload the kernel"); err != nil {
			return nil, err
		}
		if err := c.Loader.Unload(); err != nil {
			return nil, &Fault{Name: "LoadFailed", Err: err}
		}
		c.rec.Loaded = nil
		return nil, c.save()
	})
	return err
}

// Options of a live update.
type Options struct {
	// Verify takes the SHA-256 of every file that is sealed against writing
	// and compares it in the new kernel.
	Verify bool
	// DryRun does all checks and no more.
	DryRun bool
	// Override are the names of preflight checks that may fail.
	Override []string
}

// LiveUpdate checks, packs and triggers the jump. It returns the generation that
// will boot once PID 1 has begun to shut down; before that every error means
// that nothing was stopped and nothing changed.
func (c *Coordinator) LiveUpdate(ctx context.Context, options Options) (uint64, error) {
	generation, err := c.preflight(ctx, options)
	if err != nil || options.DryRun {
		return generation, err
	}
	// From here on the caller may go away; the update doesn't depend on it.
	begun, err := do(context.WithoutCancel(ctx), c, func() (packer.Cargo, error) { return c.begin(options) })
	if err != nil {
		return 0, err
	}
	packing, cancel := context.WithTimeout(context.WithoutCancel(ctx), packTimeout)
	defer cancel()
	packed, packError := packer.Pack(packing, c.Kernel, c.Store, begun)
	_, err = do(context.WithoutCancel(ctx), c, func() (any, error) {
		if packError != nil {
			return nil, c.abort(fault("PackFailed", "%w", packError))
		}
		return nil, c.commit(packed)
	})
	if errors.Is(err, errStopped) && packed != nil {
		// The fd store and the record tell the next start what to undo.
		return 0, fmt.Errorf("%w: the live update is taken back when it starts again", err)
	}
	return generation, err
}

// begin starts packing; the checks are done.
func (c *Coordinator) begin(options Options) (packer.Cargo, error) {
	cargo := packer.Cargo{
		Verify: options.Verify, Now: c.Machine.Now,
		Manifest: manifest.Manifest{
			Generation: c.rec.Generation + 1, OldKernel: c.Machine.Release, OldBootID: c.Machine.BootID,
		},
	}
	if c.rec.Phase != Checking {
		return packer.Cargo{}, fault("Busy", "start a live update: it was cancelled while the kernel was checked")
	}
	// What still lies in an incoming session can't go into an outgoing one
	// (EBUSY); the vault holds it, so the session may go.
	for unit, a := range c.incoming {
		c.finish(unit, a)
	}
	c.arrived()
	for _, unit := range c.vault.Units() {
		cargo.Units = append(cargo.Units, packer.Unit{Name: unit, Files: c.vault.Files(unit)})
	}
	c.rec.Phase = Packing
	c.mark("checked", c.Machine.Now())
	if err := c.save(); err != nil {
		c.rec.Phase = Idle
		return packer.Cargo{}, fault("NoRecord", "start a live update: %w", err)
	}
	cargo.Manifest.TimeLine = append(cargo.Manifest.TimeLine, c.rec.TimeLine...)
	c.Log.Info("packing", "generation", cargo.Manifest.Generation, "units", len(cargo.Units))
	return cargo, nil
}

// ready says why there can be no live update now.
func (c *Coordinator) ready(ctx context.Context) error {
	if err := c.Kernel.Probe(); err != nil {
		return fault("NotSupported", "no live update is possible: %w", err)
	}
	if err := c.free("start a live update"); err != nil {
		return err
	}
	if c.rec.Degraded != "" {
		return fault("Degraded", "no live update is possible: %s", c.rec.Degraded)
	}
	for unit, a := range c.incoming {
		for name := range a.names {
			if c.lost(unit, name) {
				return fault("Degraded", "no live update is possible: %q of %s did not come back as it went and lies only in its session, which the update would discard; 'luoctl status' says why, and a reboot gives it up", name, unit)
			}
		}
	}
	loaded, err := c.Loader.Loaded()
	if err != nil {
		return &Fault{Name: "LoadFailed", Err: err}
	}
	switch {
	case !loaded:
		return fault("NoKernelLoaded", "no live update is possible: no kernel is loaded; load one with 'luoctl load'")
	case c.rec.Loaded == nil:
		return fault("ForeignKernel", "no live update is possible: the loaded kernel was not loaded by luod, so its command line and its ability to take memory over are unknown; load one with 'luoctl load'")
	case c.rec.Loaded.Generation != c.rec.Generation+1:
		return fault("ForeignKernel", "no live update is possible: the loaded kernel was meant for generation %d and the next is %d; load it again", c.rec.Loaded.Generation, c.rec.Generation+1)
	}
	if err := c.Jumper.Check(ctx); err != nil {
		return fault("WouldNotSurvive", "no live update is possible: %w", err)
	}
	return nil
}

// commit triggers the jump.
//
// Killed before the record says "committed": the next start takes everything
// back. Killed after: the next start asks PID 1 whether a shutdown is under way,
// and keeps the sessions or takes them back.
func (c *Coordinator) commit(packed *packer.Packed) error {
	c.outgoing = packed
	c.rec.Phase = Committed
	c.rec.TimeLine = packed.Manifest.TimeLine
	if err := c.save(); err != nil {
		return c.abort(fault("NoRecord", "commit the live update: %w", err))
	}
	results, err := c.Jumper.Jump(c.brief())
	if err != nil {
		return c.abort(fault("JumpFailed", "start the shutdown: %w", err))
	}
	c.Log.Info("committed: PID 1 shuts the system down and boots the loaded kernel", "generation", c.rec.Generation+1)
	go c.await(results)
	return nil
}

// await takes the update back if PID 1 gives the shutdown up.
func (c *Coordinator) await(results <-chan string) {
	result, ok := <-results
	if !ok || result == "done" {
		return
	}
	_, _ = do(context.Background(), c, func() (any, error) {
		if c.rec.Phase == Committed {
			_ = c.abort(fault("JumpFailed", "the shutdown did not happen: the job of kexec.target ended as %q", result))
		}
		return nil, nil
	})
}

// abort takes the update back and returns why, with what could not be undone.
func (c *Coordinator) abort(why error) error {
	if c.outgoing != nil {
		if err := c.outgoing.Close(); err != nil {
			why = errors.Join(why, fmt.Errorf("take the sessions back: %w", err))
		}
		c.outgoing = nil
	}
	c.rec.Phase, c.rec.LastError = Idle, why.Error()
	c.Log.Error("the live update was taken back: nothing is lost", "reason", why)
	_ = c.save()
	return why
}
