package pid1

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
)

// Reissue is what PID 1 will do for luod-reissue when a unit starts, whatever its
// files say by now.
type Reissue struct {
	// Runs says that it is among what runs before the service.
	Runs bool
	// NotifyAccess decides whether it can push into the unit's fd store, and StoreMax
	// is how many entries that has room for.
	NotifyAccess string
	StoreMax     uint32
	// Removed are the directories that PID 1 removes when the unit stops
	// (RuntimeDirectory= without RuntimeDirectoryPreserve=yes).
	Removed []string
}

// Reissues tells of each of units.
func (Units) Reissues(ctx context.Context, units []string) (map[string]Reissue, error) {
	reissues := map[string]Reissue{}
	if len(units) == 0 {
		return reissues, nil
	}
	err := connected(ctx, func(conn *dbus.Conn) error {
		for _, unit := range units {
			r, err := reissueOf(func(property string) (any, error) {
				p, err := conn.GetServicePropertyContext(ctx, unit, property)
				if err != nil {
					return nil, fmt.Errorf("ask PID 1 for the %s of %s: %w", property, unit, err)
				}
				return p.Value.Value(), nil
			})
			if err != nil {
				return err
			}
			reissues[unit] = r
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return reissues, nil
}

func reissueOf(ask func(property string) (any, error)) (Reissue, error) {
	var r Reissue
	access, err := ask("NotifyAccess")
	if err != nil {
		return r, err
	}
	storeMax, err := ask("FileDescriptorStoreMax")
	if err != nil {
		return r, err
	}
	commands, err := ask("ExecStartPre")
	if err != nil {
		return r, err
	}
	directories, err := ask("RuntimeDirectory")
	if err != nil {
		return r, err
	}
	preserve, err := ask("RuntimeDirectoryPreserve")
	if err != nil {
		return r, err
	}
	if names, _ := directories.([]string); preserve != "yes" {
		for _, name := range names {
			r.Removed = append(r.Removed, path.Join("/run", name))
		}
	}
	r.NotifyAccess, _ = access.(string)
	r.StoreMax, _ = storeMax.(uint32)
	r.Runs = runs(commands, "luod-reissue")
	return r, nil
}

// runs says whether program is called by one of commands, itself or in the arguments
// of another. They are of the type a(sasbttttuii), of which the first is the path and
// the second the arguments (org.freedesktop.systemd1(5)).
func runs(commands any, program string) bool {
	list, _ := commands.([][]any)
	return slices.ContainsFunc(list, func(command []any) bool {
		if len(command) < 2 {
			return false
		}
		path, _ := command[0].(string)
		argv, _ := command[1].([]string)
		return slices.ContainsFunc(append([]string{path}, argv...), func(word string) bool { return strings.Contains(word, program) })
	})
}
