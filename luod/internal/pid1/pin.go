package pid1

import (
	"context"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
)

// pinUnit refers to units so that PID 1 doesn't forget them.
const pinUnit = "luod-pin.service"

// Pin keeps PID 1 from forgetting units, and closing the fd stores that it keeps for
// them, while they are stopped: systemd 254 to 260 do so as soon as no unit that runs
// refers to them (src/core/unit.c: unit_gc_sweep). It lasts until Unpin.
func (u Units) Pin(ctx context.Context, units []string) error {
	if err := u.Unpin(ctx); err != nil {
		return err
	}
	return connected(ctx, func(conn *dbus.Conn) error {
		results := make(chan string, 1)
		_, err := conn.StartTransientUnitContext(ctx, pinUnit, "replace", []dbus.Property{
			dbus.PropDescription("Keep the File Descriptor Stores of Stopped Units"),
			dbus.PropExecStart([]string{"/bin/true"}, false),
			dbus.PropType("oneshot"),
			dbus.PropRemainAfterExit(true),
			property("DefaultDependencies", false),
			dbus.PropAfter(units...),
		}, results)
		if err != nil {
			return fmt.Errorf("start %s: %w", pinUnit, err)
		}
		result, err := await(ctx, conn, results)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", pinUnit, err)
		}
		return outcome(ctx, conn, pinUnit, result)
	})
}

// Unpin lets PID 1 forget them; it is no error if nothing is pinned.
func (Units) Unpin(ctx context.Context) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		list, err := conn.ListUnitsByNamesContext(ctx, []string{pinUnit})
		if err != nil {
			return fmt.Errorf("look for %s: %w", pinUnit, err)
		}
		for _, unit := range list {
			if unit.LoadState != "loaded" {
				continue
			}
			results := make(chan string, 1)
			if _, err := conn.StopUnitContext(ctx, pinUnit, "replace", results); err != nil {
				return fmt.Errorf("stop %s: %w", pinUnit, err)
			}
			if _, err := await(ctx, conn, results); err != nil {
				return fmt.Errorf("stop %s: %w", pinUnit, err)
			}
		}
		return nil
	})
}
