package pid1

import (
	"context"
	"fmt"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Service is a service that runs, or that has stopped and still has an fd store.
type Service struct {
	Name string
	// Files are the unit file and the drop-ins, in the order in which PID 1 reads
	// them.
	Files []string
}

// Services lists the services that run, or are on their way up or down, or have
// stopped or failed with something in their fd store, and whose unit files or drop-ins
// contain word. One that goes away meanwhile is left out.
func (Units) Services(ctx context.Context, word string) (services []Service, err error) {
	err = connected(ctx, func(conn *dbus.Conn) error {
		list, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{"*.service"})
		if err != nil {
			return fmt.Errorf("list the services: %w", err)
		}
		var names []string
		stopped := map[string]bool{}
		for _, u := range list {
			if u.LoadState != "loaded" || u.ActiveState == "inactive" && u.SubState == "dead" {
				continue // the usual stopped one has no store (src/core/service.c)
			}
			names = append(names, u.Name)
			stopped[u.Name] = u.ActiveState == "inactive" || u.ActiveState == "failed"
		}
		if names, err = mentioning(ctx, conn, word, names); err != nil {
			return err
		}
		names = slices.DeleteFunc(names, func(name string) bool { return stopped[name] && storeCount(ctx, conn, name) == 0 })
		for _, name := range names {
			if s, err := filesOf(ctx, conn, name); err == nil {
				services = append(services, s)
			}
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list the services: %w", err)
		}
		return nil
	})
	return services, err
}

// storeCount counts what is in a unit's fd store; a unit that is gone has nothing.
func storeCount(ctx context.Context, conn *dbus.Conn, unit string) uint32 {
	n, err := conn.GetServicePropertyContext(ctx, unit, "NFileDescriptorStore")
	if err != nil {
		return 0
	}
	count, _ := n.Value.Value().(uint32)
	return count
}

func filesOf(ctx context.Context, conn *dbus.Conn, unit string) (Service, error) {
	s := Service{Name: unit}
	fragment, err := conn.GetUnitPropertyContext(ctx, unit, "FragmentPath")
	if err != nil {
		return s, fmt.Errorf("ask PID 1 for the unit file of %s: %w", unit, err)
	}
	dropIns, err := conn.GetUnitPropertyContext(ctx, unit, "DropInPaths")
	if err != nil {
		return s, fmt.Errorf("ask PID 1 for the drop-ins of %s: %w", unit, err)
	}
	if path, _ := fragment.Value.Value().(string); path != "" {
		s.Files = append(s.Files, path)
	}
	paths, _ := dropIns.Value.Value().([]string)
	s.Files = append(s.Files, paths...)
	return s, nil
}

// Known is a unit as PID 1 knows it; Name is the one by which it is known.
type Known struct {
	Service
	// Loaded says that there is such a unit.
	Loaded bool
	// Names are all its names.
	Names []string
}

// Known tells of a unit, which may not exist.
func (Units) Known(ctx context.Context, unit string) (known Known, err error) {
	err = connected(ctx, func(conn *dbus.Conn) error {
		list, err := conn.ListUnitsByNamesContext(ctx, []string{unit})
		if err != nil || len(list) != 1 {
			return fmt.Errorf("ask PID 1 about %s: it tells of %d units: %w", unit, len(list), err)
		}
		known.Name, known.Loaded = list[0].Name, list[0].LoadState == "loaded"
		if !known.Loaded {
			return nil
		}
		if known.Service, err = filesOf(ctx, conn, known.Name); err != nil {
			return err
		}
		names, err := conn.GetUnitPropertyContext(ctx, known.Name, "Names")
		if err != nil {
			return fmt.Errorf("ask PID 1 for the names of %s: %w", unit, err)
		}
		known.Names, _ = names.Value.Value().([]string)
		return nil
	})
	return known, err
}
