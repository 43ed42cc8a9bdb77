package callers

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoUnit says that a process is in no system service of its own.
var ErrNoUnit = errors.New("the caller is not a process of a system service")

// UnitOfCgroup returns the service whose processes live in the cgroup path, as
// /proc/PID/cgroup shows it. Slices come first, then the unit (systemd:
// cg_path_get_unit in src/basic/cgroup-util.c); below it only ".control" is
// systemd's own, where ExecStartPre= runs when the unit delegates. Anything
// deeper was made by the service itself, perhaps for a guest it does not trust.
// The error wraps ErrNoUnit.
func UnitOfCgroup(path string) (string, error) {
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("%w: its cgroup %q lies outside luod's cgroup tree", ErrNoUnit, path)
	}
	parts := strings.Split(strings.Trim(path, "/"), "/")
	for len(parts) > 0 && strings.HasSuffix(parts[0], ".slice") {
		parts = parts[1:]
	}
	if len(parts) == 0 || parts[0] == "" {
		return "", fmt.Errorf("%w: its cgroup is %q", ErrNoUnit, path)
	}
	// A leading underscore keeps unit names apart from kernel file names.
	unit := strings.TrimPrefix(parts[0], "_")
	switch {
	case !strings.HasSuffix(unit, ".service") || unit == ".service":
		return "", fmt.Errorf("%w: it belongs to %q", ErrNoUnit, unit)
	case strings.HasPrefix(unit, "user@"):
		return "", fmt.Errorf("%w: it belongs to the user manager %q, whose services are not the system's", ErrNoUnit, unit)
	case len(parts) > 2 || len(parts) == 2 && parts[1] != ".control":
		return "", fmt.Errorf("%w: it runs in the sub-cgroup %q of %s; only processes in the unit's own cgroup speak for it", ErrNoUnit, strings.Join(parts[1:], "/"), unit)
	}
	return unit, nil
}

// pathIn returns the path of the unified hierarchy in /proc/PID/cgroup's text:
// the line "0::PATH" (cgroups(7)), or systemd's own on a hybrid system.
func pathIn(text string) (string, error) {
	var named string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		hierarchy, rest, _ := strings.Cut(line, ":")
		controllers, path, ok := strings.Cut(rest, ":")
		switch {
		case !ok:
		case hierarchy == "0" && controllers == "":
			return path, nil
		case controllers == "name=systemd":
			named = path
		}
	}
	if named == "" {
		return "", fmt.Errorf("%w: no cgroup is shown for it", ErrNoUnit)
	}
	return named, nil
}
