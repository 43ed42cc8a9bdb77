package declared

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// Units is what PID 1 says of services.
type Units interface {
	// Services lists those that run, or have stopped with something in their fd
	// stores, and whose unit files contain word, with these.
	Services(ctx context.Context, word string) ([]pid1.Service, error)
}

// Names is what PID 1 says of one unit.
type Names interface {
	// Known tells of a unit, which may not exist.
	Known(ctx context.Context, unit string) (pid1.Known, error)
}

// All reads what the services that run say in their unit files. The error (NoManager,
// BadDeclaration) names every unit that says what can't be understood.
func All(ctx context.Context, units Units, log *slog.Logger) (map[string]*unitsection.Section, error) {
	services, err := units.Services(ctx, unitsection.Name)
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
			log.Warn("a unit file is not understood fully", "unit", s.Name, "warning", w)
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

// FormerNames are systemd's other names for a unit, and Aliases= of its unit file.
func FormerNames(ctx context.Context, units Names, unit string) ([]string, error) {
	known, err := units.Known(ctx, unit)
	if err != nil {
		return nil, fault.New(errorname.NoManager, "find out what %s was called before: %w", unit, err)
	}
	files, err := unitsection.Read(known.Files)
	if err != nil {
		return nil, fmt.Errorf("find out what %s was called before: %w", unit, err)
	}
	d, _, err := unitsection.Parse(unit, files)
	// Other mistakes refuse an update, and no start.
	if err != nil && slices.ContainsFunc(files, func(f unitsection.File) bool { return bytes.Contains(f.Data, []byte("Aliases")) }) {
		return nil, fault.New(errorname.BadDeclaration, "find out what %s was called before: %w", unit, err)
	}
	names := known.Names
	if d != nil {
		names = slices.Concat(names, d.Aliases)
	}
	return names, nil
}
