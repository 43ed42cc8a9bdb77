package pid1

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/luod/internal/unitpath"
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
	names := unitpath.Mentioning(dirs, word)
	picked := slices.DeleteFunc(slices.Clone(services), func(s string) bool {
		return !slices.ContainsFunc(names, func(n string) bool { return unitpath.Covers(n, s) })
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
