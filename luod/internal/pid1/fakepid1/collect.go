package fakepid1

// collect has PID 1 forget the units that don't matter, as it does whenever something has happened
// (systemd: unit_may_gc and unit_gc_sweep of src/core): they neither run nor have failed, no job is queued for them, and nobody who
// stays refers to them. Before systemd 261 that goes for a unit with something in its store as well, which is closed then.
func (m *Manager) collect() {
	stays := map[*unit]bool{}
	var keep func(*unit)
	keep = func(u *unit) {
		if stays[u] {
			return
		}
		stays[u] = true
		m.load(u)
		for _, name := range u.set.refers() {
			if other := m.findLocked(name); other != nil {
				keep(other)
			}
		}
	}
	for _, u := range m.units {
		if m.stays(u) {
			keep(u)
		}
	}
	for _, u := range m.units {
		if u.state.Loaded && !stays[u] {
			u.empty()
			u.set = Unit{}
			u.state = State{Active: "inactive", Sub: "dead", Result: "success"}
		}
	}
}

// stays says whether a unit stays loaded by itself.
func (m *Manager) stays(u *unit) bool {
	if u.jobs > 0 || u.state.Active != "inactive" {
		return true
	}
	return m.version >= carriesStores && u.state.Sub == pinned
}

// load reads the unit's file, unless it has been read.
func (m *Manager) load(u *unit) {
	if !u.state.Loaded {
		u.set, u.state.Loaded = u.file, true
	}
}

// pinned is the sub-state of a stopped unit whose store is kept.
const pinned = "dead-resources-pinned"

// preserve is FileDescriptorStorePreserve= as this version understands it: one that it doesn't know is not heard.
func (m *Manager) preserve(u *unit) string {
	switch u.set.Preserve {
	case "no", "yes":
		if m.version >= 254 {
			return u.set.Preserve
		}
	case "on-success":
		if m.version >= 262 {
			return "on-success"
		}
	}
	return "restart"
}

// ended gives up what a unit that stays down doesn't keep.
func (m *Manager) ended(u *unit) {
	keep := m.preserve(u) == "yes" || m.preserve(u) == "on-success" && u.state.Result == "success"
	if !keep {
		u.empty()
	} else if u.state.Active == "inactive" && len(u.store) > 0 {
		u.state.Sub = pinned
	}
}

// unpin notices that nothing is left of what was kept.
func (m *Manager) unpin(u *unit) {
	if u.state.Sub == pinned && len(u.store) == 0 {
		u.state.Sub = "dead"
	}
}
