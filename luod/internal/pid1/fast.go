package pid1

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// jumpUnit makes a fast jump.
const jumpUnit = "luod-jump.service"

// fastCheck refuses a jump that PID 1 takes no part in where PID 1 would have
// carried something for somebody else.
func fastCheck(ctx context.Context, conn *dbus.Conn, version string) error {
	p, err := conn.GetUnitPropertyContext(ctx, jumpUnit, "LoadState")
	if err != nil {
		return fmt.Errorf("look for %s: %w", jumpUnit, err)
	}
	if state, _ := p.Value.Value().(string); state != "loaded" {
		return fmt.Errorf("%s, which makes a fast jump, is %s", jumpUnit, state)
	}
	if majorVersion(version) < carriesStores {
		return nil
	}
	list, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{"*.service"})
	if err != nil {
		return fmt.Errorf("list the services: %w", err)
	}
	var losers []string
	for _, u := range list {
		if u.Name == "luod.service" || !preserves(ctx, conn, u.Name) {
			continue
		}
		entries, err := dumpStore(ctx, u.Name)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(entries, storeEntry.carried) {
			losers = append(losers, u.Name)
		}
	}
	if len(losers) > 0 {
		return fmt.Errorf("PID 1 takes no part in a fast update, and would otherwise carry the fd stores of %s; update without --fast, or have them hand their file descriptors to luod", strings.Join(losers, ", "))
	}
	return nil
}

// preserves says whether there is something in a unit's fd store that is to be
// preserved. systemd's own daemons keep there what spares them work, and do without
// on any boot.
func preserves(ctx context.Context, conn *dbus.Conn, unit string) bool {
	if strings.HasPrefix(unit, "systemd-") {
		return false
	}
	n, err := conn.GetServicePropertyContext(ctx, unit, "NFileDescriptorStore")
	if err != nil {
		return false // it is gone
	}
	if count, _ := n.Value.Value().(uint32); count == 0 {
		return false
	}
	how, err := conn.GetServicePropertyContext(ctx, unit, "FileDescriptorStorePreserve")
	return err == nil && slices.Contains([]any{"yes", "on-success"}, how.Value.Value())
}

// storeEntry is one of what DumpUnitFileDescriptorStore returns
// (org.freedesktop.systemd1(5)): (suuutuusu).
type storeEntry struct {
	Name               string
	Mode, Major, Minor uint32
	Inode              uint64
	DeviceMajor        uint32
	DeviceMinor        uint32
	Path               string
	Flags              uint32
}

// carried says whether PID 1 can carry it over a kexec: memfds, and sessions.
func (e storeEntry) carried() bool {
	return strings.HasPrefix(e.Path, "/memfd:") || strings.HasPrefix(e.Path, "anon_inode:[luo_session]")
}

func dumpStore(ctx context.Context, unit string) ([]storeEntry, error) {
	conn, err := godbus.ConnectSystemBus()
	if err != nil {
		return nil, fmt.Errorf("ask PID 1 what is in the fd store of %s: %w", unit, err)
	}
	defer conn.Close()
	var entries []storeEntry
	if err := conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1").
		CallWithContext(ctx, "org.freedesktop.systemd1.Manager.DumpUnitFileDescriptorStore", 0, unit).Store(&entries); err != nil {
		return nil, fmt.Errorf("ask PID 1 what is in the fd store of %s: %w", unit, err)
	}
	return entries, nil
}
