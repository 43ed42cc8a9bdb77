package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/liveupdate/luod/luod/declaration"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// maxUnitFile bounds what is read of a unit file, in bytes.
const maxUnitFile = 1 << 20

// declared reads what the services that run say in their unit files. It works
// outside of the coordinator's goroutine.
func (c *Coordinator) declared(ctx context.Context) (map[string]*declaration.Declaration, error) {
	services, err := c.Units.Services(ctx, declaration.Section)
	if err != nil {
		return nil, fault("NoManager", "find the services that declare their part in live updates: %w", err)
	}
	all := map[string]*declaration.Declaration{}
	var wrong []error
	for _, s := range services {
		files, err := read(s)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		d, warnings, err := declaration.Parse(s.Name, files)
		for _, w := range warnings {
			c.Log.Warn("a unit file is not understood fully", "unit", s.Name, "warning", w)
		}
		if err != nil {
			wrong = append(wrong, err)
		} else if d != nil {
			all[s.Name] = d
		}
	}
	if len(wrong) > 0 {
		return nil, fault("BadDeclaration", "a service declares something that can't be understood: %w", errors.Join(wrong...))
	}
	return all, nil
}

func read(s pid1.Service) ([]declaration.File, error) {
	var files []declaration.File
	for _, path := range s.Files {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue // removed since; PID 1 forgets it at its next reload
		}
		if err != nil {
			return nil, fmt.Errorf("read a unit file of %s: %w", s.Name, err)
		}
		data, err := io.ReadAll(io.LimitReader(f, maxUnitFile+1))
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("read a unit file of %s: %w", s.Name, err)
		}
		if len(data) > maxUnitFile {
			return nil, fmt.Errorf("read a unit file of %s: %s is larger than %d bytes", s.Name, path, maxUnitFile)
		}
		files = append(files, declaration.File{Path: path, Data: data})
	}
	return files, nil
}
