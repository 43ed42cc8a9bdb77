package pid1

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// HolderUnit is the second process that holds the sessions (luod-hold).
const HolderUnit = "luod-hold.service"

// StartHolder starts it anew, and returns when it says that it holds everything.
func (u Units) StartHolder(ctx context.Context) error {
	if err := u.StopHolder(ctx); err != nil {
		return err // it may hold what is of an earlier update
	}
	return connected(ctx, func(conn *dbus.Conn) error {
		_ = conn.ResetFailedUnitContext(ctx, HolderUnit) // of an earlier one
		results := make(chan string, 1)
		if _, err := conn.StartUnitContext(ctx, HolderUnit, "replace", results); err != nil {
			return fmt.Errorf("start %s: %w", HolderUnit, err)
		}
		result, err := await(ctx, conn, results)
		if err != nil {
			return fmt.Errorf("wait for %s: %w", HolderUnit, err)
		}
		return outcome(ctx, conn, HolderUnit, result)
	})
}

// noSuchUnit is what PID 1 answers about a unit that it doesn't know.
const noSuchUnit = "org.freedesktop.systemd1.NoSuchUnit"

// StopHolder ends it, and waits for that. It is no error if there is none.
func (Units) StopHolder(ctx context.Context) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		results := make(chan string, 1)
		_, err := conn.StopUnitContext(ctx, HolderUnit, "replace", results)
		if answer := (godbus.Error{}); errors.As(err, &answer) && answer.Name == noSuchUnit {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stop %s: %w", HolderUnit, err)
		}
		result, err := await(ctx, conn, results)
		if err == nil && result != "done" {
			err = fmt.Errorf("its job ended as %s", result)
		}
		if err != nil {
			return fmt.Errorf("stop %s: %w", HolderUnit, err)
		}
		return nil
	})
}
