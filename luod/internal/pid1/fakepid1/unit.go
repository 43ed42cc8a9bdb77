package fakepid1

import (
	"path"
	"slices"
	"strings"

	"github.com/liveupdate/luod/internal/sdnotify"
)

// Unit is what a unit file says.
type Unit struct {
	Name string
	// Names are further names of it.
	Names []string
	// Files are the unit file and the drop-ins, real files that [Manager.Services] reads.
	Files []string

	// StoreMax is FileDescriptorStoreMax=, and Preserve FileDescriptorStorePreserve=: "no", "restart" (also if empty),
	// "yes" or "on-success".
	StoreMax int
	Preserve string
	// Restart is Restart=always.
	Restart bool

	Wants, Requires, BindsTo, PartOf, After, Before []string
	// Triggers are the units that a socket, timer or path unit starts.
	Triggers []string

	// StartPre and Start are what runs at a start: ExecStartPre=, and the service until its READY=1. Stop is what runs
	// when the service is to stop, until its end, and StopPost is ExecStopPost=, which runs at every end. Each may be nil, and call the
	// manager. An error is a failure.
	StartPre, Start, Stop, StopPost func(*Process) error
}

// names are all its names.
func (u Unit) names() []string { return append([]string{u.Name}, u.Names...) }

// refers lists the units that are loaded with this one, and stay loaded as long as it does.
func (u Unit) refers() []string {
	return slices.Concat(u.Wants, u.Requires, u.BindsTo, u.PartOf, u.After, u.Before, u.Triggers)
}

// after lists what it is started after, and stopped before. A target comes after all that it pulls in
// (systemd.target(5)).
func (u Unit) after() []string {
	if path.Ext(u.Name) == ".target" {
		return slices.Concat(u.After, u.Wants, u.Requires)
	}
	return u.After
}

// pulls lists what is started with it.
func (u Unit) pulls() []string { return slices.Concat(u.Wants, u.Requires, u.BindsTo) }

// State is how PID 1 sees a unit.
type State struct {
	// Loaded says that PID 1 has it in memory, and not only its file on disk.
	Loaded bool
	// Active and Sub are ActiveState and SubState.
	Active, Sub string
	// InvocationID is that of the last start.
	InvocationID string
	// Result is "success", or what went wrong.
	Result string
}

// unit is a unit that is loaded, or was.
type unit struct {
	// file is what is on disk, and set what PID 1 has read of it.
	file, set Unit
	state     State
	store     []*entry
	process   *Process
	// jobs counts those that wait or run, which keep it loaded.
	jobs int
	// turn is held by the job that runs. It is a lock that is waited for without the manager's.
	turn chan struct{}
}

func (u *unit) runs() bool { return slices.Contains([]string{"active", "activating"}, u.state.Active) }

func is(name, kind string) bool { return strings.HasSuffix(name, kind) }

// Process is one start of a unit, with what it can say to PID 1. What it says after its end is not heard.
type Process struct {
	Unit         string
	InvocationID string
	m            *Manager
	u            *unit
	ended        bool
}

// Listen returns duplicates of what is in its unit's store, in the order of $LISTEN_FDS; the caller owns them.
func (p *Process) Listen() []sdnotify.Entry { return p.m.copies(p.u) }
