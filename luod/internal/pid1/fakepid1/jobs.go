package fakepid1

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// plan is a transaction: units with a job each, in their order.
type plan []*unit

// before says whether a is started before b.
func before(a, b *unit) bool {
	named := func(list []string, u *unit) bool {
		return slices.ContainsFunc(u.file.names(), func(n string) bool { return slices.Contains(list, n) })
	}
	return named(b.set.after(), a) || named(a.set.Before, b)
}

// sorted puts first who has to go first. A circle is broken somewhere, as PID 1 does.
func (p plan) sorted(first func(a, b *unit) bool) plan {
	var done plan
	rest := slices.Clone(p)
	for len(rest) > 0 {
		i := slices.IndexFunc(rest, func(u *unit) bool {
			return !slices.ContainsFunc(rest, func(other *unit) bool { return other != u && first(other, u) })
		})
		i = max(i, 0)
		done = append(done, rest[i])
		rest = slices.Delete(rest, i, i+1)
	}
	return done
}

// order is sorted, by what the units say now.
func (m *Manager) order(p plan, first func(a, b *unit) bool) plan {
	m.mu.Lock()
	defer m.mu.Unlock()
	return p.sorted(first)
}

// queue makes a plan of the units and of what follows from them, with a job for each.
func (m *Manager) queue(names []string, follow func(*unit) []*unit) (plan, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var p plan
	var errs []error
	var add func(*unit)
	add = func(u *unit) {
		if slices.Contains(p, u) {
			return
		}
		m.load(u)
		u.jobs++
		p = append(p, u)
		for _, other := range follow(u) {
			add(other)
		}
	}
	for _, name := range names {
		if u := m.findLocked(name); u != nil {
			add(u)
		} else {
			errs = append(errs, fmt.Errorf("unit %s not found", name))
		}
	}
	return p, errors.Join(errs...)
}

// dependents are those that run and go down with u.
func (m *Manager) dependents(u *unit) (list []*unit) {
	for _, other := range m.units {
		for _, name := range slices.Concat(other.set.Requires, other.set.BindsTo, other.set.PartOf) {
			if slices.Contains(u.file.names(), name) && other.runs() {
				list = append(list, other)
			}
		}
	}
	return list
}

// pulled are those that are started with u.
func (m *Manager) pulled(u *unit) (list []*unit) {
	for _, name := range u.set.pulls() {
		if other := m.findLocked(name); other != nil {
			list = append(list, other)
		}
	}
	return list
}

// each runs the jobs one after the other; PID 1 runs those at once that have no order. Whoever waits may give up, and the jobs
// go on.
func (m *Manager) each(ctx context.Context, p plan, job func(*unit) error) error {
	done := make(chan error, 1)
	go func() {
		var errs []error
		for _, u := range p {
			u.turn <- struct{}{}
			err := job(u)
			<-u.turn
			m.mu.Lock()
			u.jobs--
			m.collect()
			m.mu.Unlock()
			errs = append(errs, err)
		}
		done <- errors.Join(errs...)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// stop is a stop job, or the first half of a restart.
func (m *Manager) stop(u *unit, restart bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.state.Active != "active" && u.state.Active != "activating" {
		return nil
	}
	var failed error
	if u.process != nil {
		u.state.Active, u.state.Sub = "deactivating", "stop"
		failed = m.outside(u.set.Stop, u.process)
		failed = errors.Join(failed, m.post(u))
	}
	m.down(u, failed, restart)
	return nil
}

// outside runs what a unit runs, without the manager's lock.
func (m *Manager) outside(program func(*Process) error, p *Process) error {
	if program == nil {
		return nil
	}
	m.mu.Unlock()
	defer m.mu.Lock()
	return program(p)
}

// post runs ExecStopPost=, the last that can say something.
func (m *Manager) post(u *unit) error {
	err := m.outside(u.set.StopPost, u.process)
	u.process.ended = true
	u.process = nil
	return err
}

// down is what becomes of a unit whose processes are gone.
func (m *Manager) down(u *unit, failed error, again bool) {
	u.state.Active, u.state.Sub = "inactive", "dead"
	if failed != nil {
		u.state.Active, u.state.Sub, u.state.Result = "failed", "failed", "exit-code"
	}
	switch {
	case !again:
		m.ended(u)
	case m.preserve(u) == "no":
		u.empty()
	}
}

// start is a start job.
func (m *Manager) start(u *unit) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u.state.Active == "active" {
		return nil
	}
	for _, name := range slices.Concat(u.set.Requires, u.set.BindsTo) {
		other := m.findLocked(name)
		if other == nil || slices.Contains(u.set.after(), name) && other.state.Active != "active" {
			return fmt.Errorf("start %s: its job ended as dependency", u.file.Name)
		}
	}
	m.started++
	p := &Process{Unit: u.file.Name, InvocationID: fmt.Sprintf("%032x", m.started), m: m, u: u}
	u.process = p
	u.state.Active, u.state.Sub, u.state.InvocationID, u.state.Result = "activating", "start-pre", p.InvocationID, "success"
	err := m.outside(u.set.StartPre, p)
	if err == nil {
		u.state.Sub = "start"
		err = m.outside(u.set.Start, p)
	}
	if err == nil {
		u.state.Active, u.state.Sub = "active", "running"
		return nil
	}
	_ = m.post(u)
	m.gone(u, err)
	return fmt.Errorf("start %s: its job ended as failed: %w", u.file.Name, err)
}

// gone is what becomes of a unit that has ended by itself.
func (m *Manager) gone(u *unit, failed error) {
	m.down(u, failed, u.set.Restart)
	if u.set.Restart {
		u.state.Active, u.state.Sub = "activating", "auto-restart"
	}
}

// Exit has the service of a unit end by itself: well, or with an error. With Restart it waits for [Manager.Elapse]. Those that are
// bound to it are stopped.
func (m *Manager) Exit(ctx context.Context, name string, failed error) error {
	u := m.find(name)
	if u == nil {
		return fmt.Errorf("end the service of %s: there is no such unit", name)
	}
	u.turn <- struct{}{}
	m.mu.Lock()
	if u.process == nil {
		m.mu.Unlock()
		<-u.turn
		return fmt.Errorf("end the service of %s: it doesn't run", name)
	}
	failed = errors.Join(failed, m.post(u))
	m.gone(u, failed)
	var bound []string
	for _, other := range m.units {
		if other.runs() && slices.Contains(other.set.BindsTo, name) && !u.set.Restart {
			bound = append(bound, other.file.Name)
		}
	}
	m.collect()
	m.mu.Unlock()
	<-u.turn
	return m.halt(ctx, bound)
}

// Elapse is when RestartSec= is over for a unit that has ended by itself: it is started anew.
func (m *Manager) Elapse(ctx context.Context, name string) error {
	if s := m.State(name); s.Sub != "auto-restart" {
		return fmt.Errorf("restart %s by itself: it is %s (%s)", name, s.Active, s.Sub)
	}
	return m.bring(ctx, []string{name})
}

// ResetFailed has PID 1 forget that a unit has failed.
func (m *Manager) ResetFailed(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if u := m.findLocked(name); u != nil && u.state.Active == "failed" {
		u.state.Active, u.state.Sub, u.state.Result = "inactive", "dead", "success"
		m.ended(u)
	}
	m.collect()
}

// halt stops units and what depends on them.
func (m *Manager) halt(ctx context.Context, names []string) error {
	p, err := m.queue(names, m.dependents)
	p = m.order(p, func(a, b *unit) bool { return before(b, a) })
	return errors.Join(err, m.each(ctx, p, func(u *unit) error { return m.stop(u, false) }))
}

// bring starts units and what they pull in.
func (m *Manager) bring(ctx context.Context, names []string) error {
	p, err := m.queue(names, m.pulled)
	return errors.Join(err, m.each(ctx, m.order(p, before), m.start))
}

// Restart stops units, with those that depend on them, and starts them all again, in one job each: stores are kept.
func (m *Manager) Restart(ctx context.Context, names ...string) error {
	p, unknown := m.queue(names, m.dependents)
	// A restart is one job, which keeps the unit loaded between its halves.
	m.mu.Lock()
	for _, u := range p {
		u.jobs++
	}
	m.mu.Unlock()
	down := m.order(p, func(a, b *unit) bool { return before(b, a) })
	err := m.each(ctx, down, func(u *unit) error { return m.stop(u, true) })
	return errors.Join(unknown, err, m.each(ctx, m.order(p, before), m.start))
}

// Shutdown stops every unit, in their order and targets first. The stores of those that no longer count are gone then; what is left
// ends with [Manager.Close].
func (m *Manager) Shutdown(ctx context.Context) error {
	m.mu.Lock()
	var names []string
	for _, u := range m.units {
		if u.state.Loaded && u.state.Active != "inactive" {
			names = append(names, u.file.Name)
		}
	}
	m.mu.Unlock()
	return m.halt(ctx, names)
}

// SoftReboot stops every unit and executes PID 1 anew, with what it has kept. Nothing is started.
func (m *Manager) SoftReboot(ctx context.Context) error {
	err := m.Shutdown(ctx)
	m.Reload()
	return err
}
