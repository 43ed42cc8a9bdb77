package fakepid1

import (
	"slices"
	"sync"

	"github.com/liveupdate/luod/internal/memfd"
)

// carriesStores is the first version that keeps the store of a stopped unit whatever refers to it, and carries such
// stores over a kexec.
const carriesStores = 261

// Manager is a PID 1. It is safe for concurrent use.
type Manager struct {
	version  int
	ofMemfds uint64 // st_dev of every memfd

	mu       sync.Mutex
	units    []*unit
	started  int // counts starts
	failures map[string]error
	programs map[string]Program
}

// New returns a PID 1 of that version of systemd, with no units. It is closed at the end.
func New(version int) *Manager {
	m := &Manager{version: version, failures: map[string]error{}, programs: map[string]Program{}}
	device, err := memfd.Device()
	if err != nil {
		panic(err)
	}
	m.ofMemfds = device
	return m
}

// Version is systemd's.
func (m *Manager) Version() int { return m.version }

// Close ends it as a reboot does: every store is gone.
func (m *Manager) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.units {
		u.empty()
		if u.process != nil {
			u.process.ended = true
		}
	}
}

// Define writes unit files. One of a unit that is loaded counts from the next [Manager.Reload].
func (m *Manager) Define(units ...Unit) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, file := range units {
		u := m.findLocked(file.Name)
		if u == nil {
			u = &unit{turn: make(chan struct{}, 1), state: State{Active: "inactive", Sub: "dead", Result: "success"}}
			m.units = append(m.units, u)
		}
		u.file = file
	}
	m.collect()
}

func (m *Manager) find(name string) *unit {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.findLocked(name)
}

func (m *Manager) findLocked(name string) *unit {
	for _, u := range m.units {
		if slices.Contains(u.file.names(), name) {
			return u
		}
	}
	return nil
}

// State tells how PID 1 sees a unit, which may not exist.
func (m *Manager) State(unit string) State {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.findLocked(unit)
	if u == nil {
		return State{Active: "inactive", Sub: "dead"}
	}
	m.settle(u)
	return u.state
}

// Reload is daemon-reload, and for the stores the same as daemon-reexec: each is written down and read again, which turns its order
// around, and has what exceeds a lower limit dropped.
func (m *Manager) Reload() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, u := range m.units {
		m.settle(u)
		if u.state.Loaded {
			u.set = u.file
		}
		old := u.store
		u.store = nil
		for _, e := range old {
			if len(u.store) >= u.set.StoreMax {
				e.f.Close()
				continue
			}
			u.store = slices.Insert(u.store, 0, e)
		}
	}
	m.collect()
}

// FailNext makes the next call of that method of [Manager], such as "Stop", fail with err after it has done nothing.
func (m *Manager) FailNext(method string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures[method] = err
}

func (m *Manager) failure(method string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	err := m.failures[method]
	delete(m.failures, method)
	return err
}
