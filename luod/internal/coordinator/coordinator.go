package coordinator

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/clock"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/state"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Store is luod's own fd store.
type Store interface {
	Push(name string, files ...*os.File) error
	Remove(name string) error
	Barrier(ctx context.Context) error
}

// Loader checks and loads the kernel that is to be booted. Ask may take long.
type Loader interface {
	Ask(ctx context.Context, r loading.Request) (loading.Answer, error)
	Unload() error
	Loaded() (bool, error)
	// Left is how many more kernels may be loaded: it is less for each that was.
	Left() (int, error)
}

// Jumper makes PID 1 shut down and boot the loaded kernel.
type Jumper interface {
	// Check says why luod, or what others hold, would not live until the jump.
	Check(ctx context.Context, fast bool) error
	// Jump starts what ends this boot, and sends an error if it does not end.
	Jump(ctx context.Context, way pid1.Way) (<-chan error, error)
	// Jumping says whether a shutdown is under way.
	Jumping(ctx context.Context) (bool, error)
}

// Machine is what luod knows of the system it runs on.
type Machine struct {
	Release     string
	BootID      string
	CommandLine string
	// Booted is the moment the kernel started by the wall clock.
	Booted func() time.Time
}

// Config is everything a Coordinator works with.
type Config struct {
	Kernel *luo.Kernel
	Store  Store
	Loader Loader
	Jumper Jumper
	Units  Units
	// Inhibitors lists all that there are, logind's too; nil means none.
	Inhibitors func(ctx context.Context) ([]inhibitors.Inhibitor, error)
	Clock      clock.Clock
	Machine    Machine
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
	*state.State
	vault *vault.Vault
	// incoming are the retrieved sessions whose units haven't fetched all yet.
	incoming map[string]*arrival
	// manifest is the incoming manifest's session, stuck those that must stay
	// open because nobody can say what is in them.
	manifest *luo.Session
	stuck    map[string]*luo.Session
	// unread is what could not be restored yet, or nil.
	unread   *unread
	outgoing outgoing
	// sessions are the delegated ones, by the kernel's name.
	sessions map[string]*luo.Session
	// update is the one under way that this process began.
	update *update
	// disarm stops the wait for the scheduled time.
	disarm func() bool
	// loading says that a kernel is being loaded in place of previous.
	loading  bool
	previous *record.Loaded
	// recent is the report of this boot's update, as it was at first.
	recent *report.Report
	// taken are the units that handed something over a moment ago, with how much
	// since the log told of it.
	taken map[string]int
	// settling are the units that are to be looked at (settled), with how often that was
	// asked for and how often they were started meanwhile.
	settling map[string]uint64
	// holderLeft says that the second process of an earlier update may still be there.
	holderLeft atomic.Bool
	// paying says that hooks are being told what they are owed.
	paying bool
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

// arrival is what one unit has not fetched yet.
type arrival struct {
	sessions map[string]*luo.Session
	names    map[string]bool
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
	c.vault.Close()
	for _, a := range c.incoming {
		closeAll(a.sessions)
	}
	closeAll(c.stuck)
	if c.unread != nil {
		closeAll(c.unread.sessions)
	}
	closeAll(c.sessions)
	if c.manifest != nil {
		c.manifest.Close()
	}
	if c.outgoing != nil {
		c.outgoing.Drop()
	}
	if c.update != nil {
		c.quietLocked(c.update)
		c.update.adoption.close()
	}
	if c.disarm != nil {
		c.disarm()
	}
}

func closeAll(sessions map[string]*luo.Session) {
	for _, s := range sessions {
		s.Close()
	}
}

// showLocked tells the world.
func (c *Coordinator) showLocked() {
	if c.Changed != nil {
		c.Changed(c.statusLocked())
	}
}

func (c *Coordinator) waitingLocked() []string {
	units := []string{}
	for unit := range c.incoming {
		units = append(units, unit)
	}
	for _, d := range c.unreleasedLocked() {
		units = append(units, d.Unit)
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// Status returns the present status.
func (c *Coordinator) Status(ctx context.Context) (Status, error) {
	unlock, err := c.Lock(ctx)
	if err != nil {
		return Status{}, err
	}
	defer unlock()
	c.vault.Refresh()
	return c.statusLocked(), nil
}

func (c *Coordinator) statusLocked() Status {
	s := Status{
		Phase: c.Rec.Phase, Generation: c.Rec.Generation, Kernel: c.Machine.Release,
		Degraded: c.Rec.Degraded, Warning: c.Rec.Warning, Loaded: c.Rec.Loaded,
		Waiting: c.waitingLocked(), OldKernel: c.Rec.OldKernel,
		Lost: slices.Clone(c.Rec.Lost), TimeLine: slices.Clone(c.Rec.TimeLine), LastError: c.Rec.LastError,
		Services: c.standingsLocked(), Scheduled: c.scheduledLocked(), LeftBehind: slices.Clone(c.Rec.LeftBehind),
	}
	if err := c.Kernel.Probe(); err != nil {
		s.Unsupported = err.Error()
	}
	units, files, bytes := c.vault.Totals()
	s.Units, s.FileDescriptors, s.Bytes = uint64(units), uint64(files), uint64(bytes)
	return s
}
