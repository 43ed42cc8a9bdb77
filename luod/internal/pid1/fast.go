package pid1

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/internal/unitsection"
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
	losers, err := carried(ctx, conn)
	losers = slices.DeleteFunc(losers, func(unit string) bool { return adopted(ctx, conn, unit) })
	if err != nil {
		return err
	}
	if len(losers) > 0 {
		return fmt.Errorf("PID 1 takes no part in a fast update, and would otherwise carry the fd stores of %s; update without --fast, or have them hand their file descriptors to luod", strings.Join(losers, ", "))
	}
	return nil
}

// carried lists the units, luod's aside, whose fd stores PID 1 carries.
func carried(ctx context.Context, conn *dbus.Conn) ([]string, error) {
	list, err := conn.ListUnitsByPatternsContext(ctx, nil, []string{"*.service"})
	if err != nil {
		return nil, fmt.Errorf("list the services: %w", err)
	}
	var holders []string
	for _, u := range list {
		// A unit that does not run and still has a store is "dead-resources-pinned".
		if u.Name != "luod.service" && u.LoadState == "loaded" && u.SubState != "dead" {
			holders = append(holders, u.Name)
		}
	}
	if holders, err = mentioning(ctx, conn, "FileDescriptorStorePreserve", holders); err != nil {
		return nil, err
	}
	holders = slices.DeleteFunc(holders, func(unit string) bool { return !preserves(ctx, conn, unit) })
	stores, err := dump(ctx, holders)
	if err != nil {
		return nil, err
	}
	var losers []string
	for _, unit := range holders {
		if slices.ContainsFunc(stores[unit], storeview.Stored.Carried) {
			losers = append(losers, unit)
		}
	}
	return losers, nil
}

// adopted says whether luod takes a unit's fd store over for a fast jump.
func adopted(ctx context.Context, conn *dbus.Conn, unit string) bool {
	s, err := filesOf(ctx, conn, unit)
	if err != nil {
		return false
	}
	files, err := unitsection.Read(s.Files)
	if err != nil {
		return false
	}
	d, _, err := unitsection.Parse(unit, files)
	return err == nil && d != nil && d.Store
}

// preserves says whether there is something in a unit's fd store that is to be
// preserved. systemd's own daemons keep there what spares them work, and do without
// on any boot.
func preserves(ctx context.Context, conn *dbus.Conn, unit string) bool {
	if strings.HasPrefix(unit, "systemd-") {
		return false
	}
	if storeCount(ctx, conn, unit) == 0 {
		return false
	}
	how, err := conn.GetServicePropertyContext(ctx, unit, "FileDescriptorStorePreserve")
	return err == nil && slices.Contains([]any{"yes", "on-success"}, how.Value.Value())
}
