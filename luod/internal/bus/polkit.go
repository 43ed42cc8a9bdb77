package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
)

// denied is an answer, not a failure.
var errDenied = errors.New("permission denied")

// authorize lets root do everything, so that luod works where no polkit is
// installed, and asks polkit about everybody else
// (org.freedesktop.PolicyKit1.Authority.CheckAuthorization).
func (d *Door) authorize(ctx context.Context, conn *dbus.Conn, msg dbus.Message, sender, action string) error {
	c, err := ask(ctx, conn, sender)
	if err != nil {
		return err
	}
	c.close() // which process it is doesn't matter
	if c.uid == 0 {
		return nil
	}
	if err := d.Meter.Take(fmt.Sprintf("user %d", c.uid), time.Now()); err != nil {
		return err
	}
	type subject struct {
		Kind    string
		Details map[string]dbus.Variant
	}
	var result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	var flags uint32
	if msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0 {
		flags = 1
	}
	authority := conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority")
	err = authority.CallWithContext(ctx, "org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0,
		subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(sender)}},
		action, map[string]string{}, flags, "").Store(&result)
	switch {
	case err != nil:
		return fmt.Errorf("%w: user %d is not root and polkit can't be asked about %s: %v", errDenied, c.uid, action, err)
	case result.Authorized:
		return nil
	case result.Challenge:
		return fmt.Errorf("%w: %s needs an administrator's password, and no agent asks for it here; use sudo or pkexec", errDenied, action)
	}
	return fmt.Errorf("%w: user %d may not do %s", errDenied, c.uid, action)
}
