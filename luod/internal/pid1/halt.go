package pid1

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// startable are the kinds of units that may go down with a service and that
// Start brings back.
var startable = []string{".service", ".socket", ".timer", ".path", ".target"}

// downwards are the properties that name the units which PID 1 stops together with
// one (systemd.unit(5): Requires=, Requisite=, BindsTo=, PartOf=, StopPropagatedFrom=).
var downwards = []string{"RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo"}

// Active lists those that run, and could be started again, of units and of what
// [Units.Stop] takes down with them.
func (Units) Active(ctx context.Context, units []string) (active []string, err error) {
	err = connected(ctx, func(conn *dbus.Conn) error {
		running, err := startables(ctx, conn, "active", "activating", "reloading", "refreshing")
		if err != nil {
			return err
		}
		seen := map[string]bool{}
		for left := slices.Clone(units); len(left) > 0; left = left[1:] {
			unit := left[0]
			if seen[unit] {
				continue
			}
			seen[unit] = true
			if slices.Contains(running, unit) {
				active = append(active, unit)
			}
			properties, err := conn.GetUnitPropertiesContext(ctx, unit)
			if err != nil {
				return fmt.Errorf("ask what stops with %s: %w", unit, err)
			}
			names := downwards
			if slices.Contains(units, unit) {
				names = append([]string{"TriggeredBy"}, names...)
			}
			for _, name := range names {
				more, _ := properties[name].([]string)
				left = append(left, more...)
			}
		}
		return nil
	})
	slices.Sort(active)
	return active, err
}

func startables(ctx context.Context, conn *dbus.Conn, states ...string) ([]string, error) {
	list, err := conn.ListUnitsFilteredContext(ctx, states)
	if err != nil {
		return nil, fmt.Errorf("list the units that run: %w", err)
	}
	var units []string
	for _, u := range list {
		if slices.ContainsFunc(startable, func(kind string) bool { return strings.HasSuffix(u.Name, kind) }) {
			units = append(units, u.Name)
		}
	}
	return units, nil
}

// Stop stops units, in their order among each other, together with the sockets
// and so on that would start them again, and waits until they have stopped.
func (Units) Stop(ctx context.Context, units []string) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		all := slices.Clone(units)
		for _, unit := range units {
			p, err := conn.GetUnitPropertyContext(ctx, unit, "TriggeredBy")
			if err != nil {
				return fmt.Errorf("ask what starts %s: %w", unit, err)
			}
			by, _ := p.Value.Value().([]string)
			all = append(all, by...)
		}
		slices.Sort(all)
		return jobs(ctx, conn, "stop", slices.Compact(all), conn.StopUnitContext)
	})
}

// Start starts those of units that don't run, and waits until they do.
func (Units) Start(ctx context.Context, units []string) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		running, err := startables(ctx, conn, "active", "activating", "reloading")
		if err != nil {
			return err
		}
		missing := slices.DeleteFunc(slices.Clone(units), func(u string) bool { return slices.Contains(running, u) })
		return jobs(ctx, conn, "start", missing, conn.StartUnitContext)
	})
}

// jobs queues a job for each unit, so that PID 1 orders them, and waits for all.
func jobs(ctx context.Context, conn *dbus.Conn, what string, units []string, queue func(ctx context.Context, unit, mode string, result chan<- string) (int, error)) error {
	results := make([]chan string, len(units))
	var failed []error
	for i, unit := range units {
		results[i] = make(chan string, 1)
		if _, err := queue(ctx, unit, "replace", results[i]); err != nil {
			failed = append(failed, fmt.Errorf("%s %s: %w", what, unit, err))
			results[i] = nil
		}
	}
	for i, unit := range units {
		if results[i] == nil {
			continue
		}
		result, err := await(ctx, conn, results[i])
		switch {
		case err != nil:
			return errors.Join(append(failed, fmt.Errorf("%s %s: %w", what, unit, err))...)
		case result != "done" && result != "skipped":
			failed = append(failed, fmt.Errorf("%s %s: its job ended as %s", what, unit, result))
		}
	}
	return errors.Join(failed...)
}
