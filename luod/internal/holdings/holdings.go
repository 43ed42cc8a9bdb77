package holdings

import (
	"context"
	"slices"
	"time"

	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/burst"
	"github.com/liveupdate/luod/luod/internal/delegated"
	"github.com/liveupdate/luod/luod/internal/hookrun"
	"github.com/liveupdate/luod/luod/internal/memory"
	"github.com/liveupdate/luod/luod/internal/outcome"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/state"
	"github.com/liveupdate/luod/luod/internal/storeback"
	"github.com/liveupdate/luod/luod/internal/turnedaway"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Units is what PID 1 says of services, and does for them.
type Units interface {
	// Known tells of a unit, which may not exist.
	Known(ctx context.Context, unit string) (pid1.Known, error)
	// Look tells of each of these whether it runs.
	Look(ctx context.Context, units []string) (map[string]pid1.Running, error)
	// Stores tells what is in their fd stores.
	Stores(ctx context.Context, units []string) (map[string]pid1.Store, error)
	// Start starts those that don't run, and waits.
	Start(ctx context.Context, units []string) error
}

// Machine is what luod knows of the system it runs on.
type Machine struct {
	Release     string
	BootID      string
	CommandLine string
	// Booted is the moment the kernel started by the wall clock.
	Booted func() time.Time
}

// Config is what Holdings work with.
type Config struct {
	Kernel   *luo.Kernel
	Store    state.Store
	Units    Units
	Machine  Machine
	Settings settings.Settings
	// Memory says how much there is.
	Memory func() (memory.Available, error)
	// History is the directory of the reports of earlier updates.
	History report.History
	// Restored is called with Lock when something was restored later than at the start.
	Restored func()
	// Hooks are told of what was restored.
	Hooks *hookrun.Runner
}

// Holdings is what luod holds. What is exported of it and ends in Locked is for whoever
// has the state's lock, and what changes anything for whoever has LockHoldings.
type Holdings struct {
	*state.State
	*delegated.Sessions
	*outcome.Outcomes
	// Vault holds what units have handed over.
	Vault *vault.Vault
	// Stores waits until units have their fd stores back.
	Stores *storeback.Watcher
	// Bursts tells the log what is handed over.
	Bursts *burst.Log
	// Copying are the units whose fd stores were copied for the update under way.
	Copying map[string]bool

	units    Units
	kernel   *luo.Kernel
	store    state.Store
	machine  Machine
	settings settings.Settings
	memory   func() (memory.Available, error)
	restored func()
	hooks    *hookrun.Runner

	// incoming are the retrieved sessions whose units haven't fetched all yet.
	incoming map[string]*arrival
	// manifest is the incoming manifest's session, stuck those that must stay
	// open because nobody can say what is in them.
	manifest *luo.Session
	stuck    map[string]*luo.Session
	turned   *turnedaway.Units
	// unread is what could not be restored yet, or nil.
	unread *unread
}

// New makes holdings that are empty.
func New(s *state.State, config Config) *Holdings {
	h := &Holdings{
		State: s, kernel: config.Kernel, store: config.Store, units: config.Units, machine: config.Machine,
		settings: config.Settings, memory: config.Memory, hooks: config.Hooks, restored: config.Restored,
		incoming: map[string]*arrival{}, Sessions: delegated.New(s, config.Store),
	}
	h.Outcomes = outcome.New(s, config.Units, config.History, h.AllFetchedLocked)
	h.Vault = vault.New(state.Patient{Store: h.store, State: s}, vault.Limits{Files: h.settings.FileDescriptorsMax, Bytes: h.settings.BytesMax})
	h.Bursts = burst.New(s)
	h.turned = turnedaway.New(s, config.Units, h.settings.StopTimeout)
	h.Stores = storeback.New(s, config.Units, h.Vault)
	s.Waiting = h.WaitingLocked
	return h
}

// DropLocked closes this process's descriptors; what is in the fd store stays.
func (h *Holdings) DropLocked() {
	h.Vault.Close()
	for _, a := range h.incoming {
		CloseAll(a.sessions)
	}
	CloseAll(h.stuck)
	if h.unread != nil {
		CloseAll(h.unread.sessions)
	}
	h.CloseSessionsLocked()
	if h.manifest != nil {
		h.manifest.Close()
	}
}

func (h *Holdings) WaitingLocked() []string {
	units := []string{}
	for unit := range h.incoming {
		units = append(units, unit)
	}
	for _, d := range h.UnreleasedLocked() {
		units = append(units, d.Unit)
	}
	slices.Sort(units)
	return slices.Compact(units)
}

// arrival is what one unit has not fetched yet.
type arrival struct {
	sessions map[string]*luo.Session
	names    map[string]bool
}

// CloseAll closes this process's descriptors of sessions.
func CloseAll(sessions map[string]*luo.Session) {
	for _, s := range sessions {
		s.Close()
	}
}

// UnreadLocked says that what the previous kernel handed over could not be restored yet.
func (h *Holdings) UnreadLocked() bool { return h.unread != nil }

// HalfBackLocked names a file that came back otherwise than it went, and so lies only in
// its session, if there is one.
func (h *Holdings) HalfBackLocked() (unit, name string, is bool) {
	for unit, a := range h.incoming {
		for name := range a.names {
			if h.LostLocked(unit, name) {
				return unit, name, true
			}
		}
	}
	return "", "", false
}

// FinishAllLocked ends the sessions that came through the last update: what still lies in
// one can't go into an outgoing one (EBUSY), and the vault holds it.
func (h *Holdings) FinishAllLocked() {
	for unit, a := range h.incoming {
		h.FinishLocked(unit, a)
	}
	h.DropManifestLocked()
}
