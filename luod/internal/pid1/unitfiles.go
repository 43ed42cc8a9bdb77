package pid1

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/internal/unitsection"
)

// mentioning picks the services whose unit files or drop-ins contain word. PID 1 is
// asked for nothing but where they lie: to ask it about each service takes a second
// where there are a hundred, and few of them have what is looked for.
func mentioning(ctx context.Context, conn *dbus.Conn, word string, services []string) ([]string, error) {
	text, err := managerProperty(ctx, conn, "UnitPath")
	if err != nil {
		return nil, fmt.Errorf("ask PID 1 where unit files lie: %w", err)
	}
	var dirs []string
	if err := json.Unmarshal([]byte(text), &dirs); err != nil {
		return nil, fmt.Errorf("ask PID 1 where unit files lie: it says %s: %w", text, err)
	}
	names := namesWith(dirs, word)
	picked := slices.DeleteFunc(slices.Clone(services), func(s string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return covers(n, s) })
	})
	// A name that is no service's may be an alias of one.
	var others []string
	for _, n := range names {
		if !strings.HasSuffix(n, "@.service") && n != "service" && !strings.HasSuffix(n, "-.service") && !slices.Contains(services, n) {
			others = append(others, n)
		}
	}
	if len(others) == 0 {
		return picked, nil
	}
	units, err := conn.ListUnitsByNamesContext(ctx, others)
	if err != nil {
		return nil, fmt.Errorf("ask PID 1 for the names of units: %w", err)
	}
	for _, u := range units {
		if slices.Contains(services, u.Name) && !slices.Contains(picked, u.Name) {
			picked = append(picked, u.Name)
		}
	}
	return picked, nil
}

// namesWith returns what unit files and directories of drop-ins below dirs that
// contain word are called, without the ".d" of a directory; each once. What can't be
// read, PID 1 can't read either.
func namesWith(dirs []string, word string) []string {
	var names []string
	note := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if name, is := strings.CutSuffix(e.Name(), ".d"); is && (name == "service" || strings.HasSuffix(name, ".service")) {
				dropIns, _ := filepath.Glob(filepath.Join(path, "*.conf"))
				if slices.ContainsFunc(dropIns, func(p string) bool { return contains(p, word) }) {
					note(name)
				}
			} else if strings.HasSuffix(e.Name(), ".service") && contains(path, word) {
				note(e.Name())
			}
		}
	}
	return names
}

func contains(path, word string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false // /dev/null, among others
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, unitsection.MaxFile))
	return err == nil && bytes.Contains(data, []byte(word))
}

// covers says whether a file or a directory of drop-ins of that name may be a
// service's: by its name, its template's, a part of either up to a dash, or the
// type's (systemd.unit(5)). It may say so of too many.
func covers(name, service string) bool {
	if name == service || name == "service" {
		return true
	}
	prefix := strings.TrimSuffix(name, ".service")
	return strings.HasSuffix(prefix, "-") && strings.HasPrefix(service, prefix) ||
		strings.HasSuffix(prefix, "@") && (strings.HasPrefix(service, prefix) || strings.HasSuffix(prefix, "-@") && strings.HasPrefix(service, strings.TrimSuffix(prefix, "@")))
}
