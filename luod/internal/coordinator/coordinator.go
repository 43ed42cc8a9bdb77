package coordinator

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/clock"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/hookrun"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Jumper makes PID 1 shut down and boot the loaded kernel.
type Jumper interface {
	// Check says why luod, or what others hold, would not live until the jump.
	Check(ctx context.Context, fast bool) error
	// Jump starts what ends this boot, and sends an error if it does not end.
	Jump(ctx context.Context, way pid1.Way) (<-chan error, error)
	// Jumping says whether a shutdown is under way.
	Jumping(ctx context.Context) (bool, error)
}

// Config is everything a Coordinator works with.
type Config struct {
	Kernel *luo.Kernel
	Store  state.Store
	Loader nextkernel.Loader
	Jumper Jumper
	Units  Units
	// Inhibitors lists all that there are, logind's too; nil means none.
	Inhibitors func(ctx context.Context) ([]inhibitors.Inhibitor, error)
	Clock      clock.Clock
	Machine    holdings.Machine
	// Memory says how much there is; nil asks the kernel.
	Memory func() (memory.Available, error)
	// Settings are the defaults if they are zero.
	Settings settings.Settings
	// Record is the path of the record of this boot, in a directory of /run.
	Record string
	// History is the directory of the reports of earlier updates; empty keeps none.
	History report.History
	Log     *slog.Logger
	// Changed is called after each change of the status. It must neither call back nor
	// block.
	Changed func(Status)
	// Announce is called likewise, with what services are to be told.
	Announce func(Signal)
	// Hooks says whether there are any; nil means that there are none.
	Hooks func() bool
	// Wall tells whoever is logged in. It must not block.
	Wall func(text string)
}

// Coordinator owns everything that was handed over. Make one with Start.
type Coordinator struct {
	Config
	*holdings.Holdings
	outgoing outgoing
	*nextkernel.Kernels
	hooks *hookrun.Runner
	// update is the one under way that this process began.
	update *update
	// disarm stops the wait for the scheduled time.
	disarm func() bool
	// holderLeft says that the second process of an earlier update may still be there.
	holderLeft atomic.Bool
}

// outgoing is what was packed for the next kernel.
type outgoing interface {
	// Close un-preserves everything.
	Close() error
	// Drop closes this process's descriptors and leaves the fd store's.
	Drop()
	// Sessions are those that are open, by name, in a map that is the caller's.
	Sessions() map[string]*luo.Session
}

// Close stops the coordinator and closes this process's descriptors, as a kill
// would. Everything stays in the fd store, and nothing is un-preserved or
// finished by it. Close it once or more.
func (c *Coordinator) Close() {
	if unlock, err := c.LockHoldings(context.Background()); err == nil {
		c.dropLocked()
		c.CloseLocked()
		unlock()
	}
	c.Background.Wait()
}

func (c *Coordinator) dropLocked() {
	c.DropLocked()
	if c.outgoing != nil {
		c.outgoing.Drop()
	}
	if c.update != nil {
		c.quietLocked(c.update)
		c.update.adoption.Close()
	}
	if c.disarm != nil {
		c.disarm()
	}
}

// showLocked tells the world.
func (c *Coordinator) showLocked() {
	if c.Changed != nil {
		c.Changed(c.statusLocked())
	}
}

// Status returns the present status.
func (c *Coordinator) Status(ctx context.Context) (Status, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	c.Vault.Refresh()
	return c.statusLocked(), nil
}

func (c *Coordinator) statusLocked() Status {
	s := Status{
		Phase: c.Rec.Phase, Generation: c.Rec.Generation, Kernel: c.Machine.Release,
		Degraded: c.Rec.Degraded, Warning: c.Rec.Warning, Loaded: c.Rec.Loaded,
		Waiting: c.WaitingLocked(), OldKernel: c.Rec.OldKernel,
		Lost: slices.Clone(c.Rec.Lost), TimeLine: slices.Clone(c.Rec.TimeLine), LastError: c.Rec.LastError,
		Services: c.standingsLocked(), Scheduled: c.scheduledLocked(), LeftBehind: slices.Clone(c.Rec.LeftBehind),
	}
	if err := c.Kernel.Probe(); err != nil {
		s.Unsupported = err.Error()
	}
	units, files, bytes := c.Vault.Totals()
	s.Units, s.FileDescriptors, s.Bytes = uint64(units), uint64(files), uint64(bytes)
	return s
}
