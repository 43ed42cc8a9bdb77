package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/luod/internal/polkit"
)

// authorize lets root do everything, so that luod works where no polkit is
// installed, and asks polkit about everybody else.
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
	return polkit.Ask(ctx, conn, sender, c.uid, action, msg.Flags&dbus.FlagAllowInteractiveAuthorization != 0)
}
