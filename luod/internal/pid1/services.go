package pid1

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Service is a service that runs.
type Service struct {
	Name string
	// Files are the unit file and the drop-ins, in the order in which PID 1 reads
	// them.
	Files []string
}

// Services lists the services that run. One that goes away meanwhile is left out.
func (Units) Services(ctx context.Context) ([]Service, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	defer conn.Close()
	list, err := conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating", "reloading"}, []string{"*.service"})
	if err != nil {
		return nil, fmt.Errorf("list the services: %w", err)
	}
	var services []Service
	for _, u := range list {
		fragment, err := conn.GetUnitPropertyContext(ctx, u.Name, "FragmentPath")
		if err != nil {
			continue
		}
		dropIns, err := conn.GetUnitPropertyContext(ctx, u.Name, "DropInPaths")
		if err != nil {
			continue
		}
		s := Service{Name: u.Name}
		if path, _ := fragment.Value.Value().(string); path != "" {
			s.Files = append(s.Files, path)
		}
		paths, _ := dropIns.Value.Value().([]string)
		s.Files = append(s.Files, paths...)
		services = append(services, s)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list the services: %w", err)
	}
	return services, nil
}
