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

// Services lists the services that run and whose unit files or drop-ins contain word.
// One that goes away meanwhile is left out.
func (Units) Services(ctx context.Context, word string) (services []Service, err error) {
	err = connected(ctx, func(conn *dbus.Conn) error {
		list, err := conn.ListUnitsByPatternsContext(ctx, []string{"active", "activating", "reloading"}, []string{"*.service"})
		if err != nil {
			return fmt.Errorf("list the services: %w", err)
		}
		names := make([]string, len(list))
		for i, u := range list {
			names[i] = u.Name
		}
		if names, err = mentioning(ctx, conn, word, names); err != nil {
			return err
		}
		for _, name := range names {
			fragment, err := conn.GetUnitPropertyContext(ctx, name, "FragmentPath")
			if err != nil {
				continue
			}
			dropIns, err := conn.GetUnitPropertyContext(ctx, name, "DropInPaths")
			if err != nil {
				continue
			}
			s := Service{Name: name}
			if path, _ := fragment.Value.Value().(string); path != "" {
				s.Files = append(s.Files, path)
			}
			paths, _ := dropIns.Value.Value().([]string)
			s.Files = append(s.Files, paths...)
			services = append(services, s)
		}
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("list the services: %w", err)
		}
		return nil
	})
	return services, err
}
