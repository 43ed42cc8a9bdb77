package pid1

import (
	"context"
	"fmt"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Running is how PID 1 sees a unit at the moment.
type Running struct {
	// State is its ActiveState (org.freedesktop.systemd1(5)).
	State string
	// InvocationID differs from start to start.
	InvocationID string
}

// Runs says that the unit has, or is about to have, a process that can answer.
func (r Running) Runs() bool {
	return slices.Contains([]string{"active", "activating", "reloading", "refreshing"}, r.State)
}

// Units asks PID 1 over its own socket, so that it works without a bus; the zero
// value works.
type Units struct{}

// Look tells of each of these units how it is. One that PID 1 doesn't know is
// "inactive".
func (Units) Look(ctx context.Context, units []string) (map[string]Running, error) {
	running := map[string]Running{}
	if len(units) == 0 {
		return running, nil
	}
	err := connected(ctx, func(conn *dbus.Conn) error {
		list, err := conn.ListUnitsByNamesContext(ctx, units)
		if err != nil {
			return fmt.Errorf("list units: %w", err)
		}
		for _, u := range list {
			r := Running{State: u.ActiveState}
			if r.Runs() {
				p, err := conn.GetUnitPropertyContext(ctx, u.Name, "InvocationID")
				if err != nil {
					return fmt.Errorf("ask for the invocation of %s: %w", u.Name, err)
				}
				id, _ := p.Value.Value().([]byte)
				r.InvocationID = fmt.Sprintf("%x", id)
			}
			running[u.Name] = r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return running, nil
}
