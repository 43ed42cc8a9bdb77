package fakepid1

import (
	"context"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/liveupdate/luod/luod/internal/pid1"
)

// Program is what runs instead of a program that luod has PID 1 start.
type Program func(ctx context.Context, p pid1.Program) error

// Serve has [Manager.Run] call run for programs of that path.
func (m *Manager) Serve(path string, run Program) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.programs[path] = run
}

// Hold is that of [pid1.Units], as all that follow.
func (m *Manager) Hold() (release func()) { return func() {} }

// Run runs what [Manager.Serve] was told of.
func (m *Manager) Run(ctx context.Context, p pid1.Program) error {
	if err := m.failure("Run"); err != nil {
		return err
	}
	m.mu.Lock()
	run := m.programs[p.Argv[0]]
	m.mu.Unlock()
	if run == nil {
		return fmt.Errorf("wait for %s: %s: no such file or directory", p.Unit, p.Argv[0])
	}
	return run(ctx, p)
}

// Services lists those that run, or have something in their store, and have word in one of their files.
func (m *Manager) Services(_ context.Context, word string) ([]pid1.Service, error) {
	if err := m.failure("Services"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []pid1.Service
	for _, u := range m.units {
		if is(u.file.Name, ".service") && (u.runs() || u.state.Active == "deactivating" || len(u.store) > 0) && slices.ContainsFunc(u.set.Files, func(path string) bool {
			data, err := os.ReadFile(path)
			return err == nil && strings.Contains(string(data), word)
		}) {
			list = append(list, pid1.Service{Name: u.file.Name, Files: slices.Clone(u.set.Files)})
		}
	}
	return list, nil
}

// Known knows what was defined.
func (m *Manager) Known(_ context.Context, name string) (pid1.Known, error) {
	if err := m.failure("Known"); err != nil {
		return pid1.Known{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.findLocked(name)
	if u == nil {
		return pid1.Known{Service: pid1.Service{Name: name}}, nil
	}
	file := u.file
	if u.state.Loaded {
		file = u.set
	}
	return pid1.Known{Service: pid1.Service{Name: file.Name, Files: slices.Clone(file.Files)}, Loaded: true, Names: file.names()}, nil
}

// Look tells of each of units.
func (m *Manager) Look(_ context.Context, units []string) (map[string]pid1.Running, error) {
	if err := m.failure("Look"); err != nil {
		return nil, err
	}
	running := map[string]pid1.Running{}
	for _, name := range units {
		s := m.State(name)
		r := pid1.Running{State: s.Active}
		if r.Runs() {
			r.InvocationID = s.InvocationID
		}
		running[name] = r
	}
	return running, nil
}

// Stores tells of what is in the stores of units, and of empty ones that PID 1 keeps.
func (m *Manager) Stores(_ context.Context, units []string) (map[string]pid1.Store, error) {
	if err := m.failure("Stores"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	stores := map[string]pid1.Store{}
	for _, name := range units {
		u := m.findLocked(name)
		if u == nil {
			continue
		}
		m.load(u) // who asks about a unit has it loaded
		s := pid1.Store{Entries: m.dump(u)}
		s.Count = uint32(len(s.Entries))
		how := m.preserve(u)
		s.Native = m.version >= carriesStores && (how == "yes" || how == "on-success")
		s.Kept = how == "yes"
		if len(s.Entries) > 0 && m.version < 254 {
			return nil, fmt.Errorf("ask PID 1 what is in the fd store of %s: unknown method DumpUnitFileDescriptorStore", name)
		}
		if len(s.Entries) > 0 || s.Kept {
			stores[name] = s
		}
	}
	m.collect()
	return stores, nil
}

// Active lists what runs, and could be started again, of units and of what [Manager.Stop] takes down with them.
func (m *Manager) Active(_ context.Context, names []string) ([]string, error) {
	if err := m.failure("Active"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var units []string
	var add func(u *unit)
	add = func(u *unit) {
		if slices.Contains(units, u.file.Name) {
			return
		}
		if u.runs() && slices.Contains([]string{".service", ".socket", ".timer", ".path", ".target"}, path.Ext(u.file.Name)) {
			units = append(units, u.file.Name)
		}
		for _, other := range m.dependents(u) {
			add(other)
		}
	}
	for _, u := range m.units {
		if slices.Contains(names, u.file.Name) || slices.ContainsFunc(u.set.Triggers, func(t string) bool { return slices.Contains(names, t) }) {
			add(u)
		}
	}
	slices.Sort(units)
	return units, nil
}

// Reissues tells of each of units that luod-reissue is its StartPre, if it has one.
func (m *Manager) Reissues(_ context.Context, units []string) (map[string]pid1.Reissue, error) {
	if err := m.failure("Reissues"); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	reissues := map[string]pid1.Reissue{}
	for _, name := range units {
		if u := m.findLocked(name); u != nil {
			m.load(u)
			reissues[name] = pid1.Reissue{Runs: u.set.StartPre != nil, NotifyAccess: "exec", StoreMax: uint32(u.set.StoreMax)}
		}
	}
	m.collect()
	return reissues, nil
}

// pin is the unit that refers to what is pinned.
const pin = "luod-pin.service"

// Pin has a unit that runs refer to units, until [Manager.Unpin].
func (m *Manager) Pin(ctx context.Context, units []string) error {
	if err := m.failure("Pin"); err != nil {
		return err
	}
	m.Define(Unit{Name: pin, After: units})
	return m.bring(ctx, []string{pin})
}

// Unpin stops it.
func (m *Manager) Unpin(ctx context.Context) error {
	if err := m.failure("Unpin"); err != nil || m.find(pin) == nil {
		return err
	}
	return m.halt(ctx, []string{pin})
}

// Stop stops units, what depends on them, and what would start them again.
func (m *Manager) Stop(ctx context.Context, units []string) error {
	if err := m.failure("Stop"); err != nil {
		return err
	}
	all := slices.Clone(units)
	m.mu.Lock()
	for _, u := range m.units {
		if u.runs() && slices.ContainsFunc(u.set.Triggers, func(t string) bool { return slices.Contains(units, t) }) {
			all = append(all, u.file.Name)
		}
	}
	m.mu.Unlock()
	return m.halt(ctx, all)
}

// Start starts those of units that don't run, and what they pull in.
func (m *Manager) Start(ctx context.Context, units []string) error {
	if err := m.failure("Start"); err != nil {
		return err
	}
	return m.bring(ctx, units)
}

// StartHolder and StopHolder start and end nothing: a test that wants the sessions held twice does it itself.
func (m *Manager) StartHolder(context.Context) error { return m.failure("StartHolder") }

// StopHolder is beside StartHolder.
func (m *Manager) StopHolder(context.Context) error { return m.failure("StopHolder") }
