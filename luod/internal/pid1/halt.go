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

// Active lists the units that run and could be started again.
func (Units) Active(ctx context.Context) (units []string, err error) {
	err = connected(ctx, func(conn *dbus.Conn) error {
		units, err = startables(ctx, conn, "active", "reloading")
		return err
	})
	return units, err
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
