package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
)

// declared reads what the services that run say in their unit files. It works
// without the lock.
func (c *Coordinator) declared(ctx context.Context) (map[string]*unitsection.Section, error) {
	services, err := c.Units.Services(ctx, unitsection.Name)
	if err != nil {
		return nil, fault.New(errorname.NoManager, "find the services that declare their part in live updates: %w", err)
	}
	all := map[string]*unitsection.Section{}
	var wrong []error
	for _, s := range services {
		files, err := unitsection.Read(s.Files)
		if err != nil {
			wrong = append(wrong, fmt.Errorf("read the unit files of %s: %w", s.Name, err))
			continue
		}
		d, warnings, err := unitsection.Parse(s.Name, files)
		for _, w := range warnings {
			c.Log.Warn("a unit file is not understood fully", "unit", s.Name, "warning", w)
		}
		if err != nil {
			wrong = append(wrong, err)
		} else if d != nil {
			if most, set := unitsection.StoreMax(files); set {
				d.StoreMax = &most
			}
			all[s.Name] = d
		}
	}
	if len(wrong) > 0 {
		return nil, fault.New(errorname.BadDeclaration, "a service declares something that can't be understood: %w", errors.Join(wrong...))
	}
	return all, nil
}
