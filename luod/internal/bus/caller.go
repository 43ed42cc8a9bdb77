package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/callers"
)

// credentials is what the bus says of a connection
// (org.freedesktop.DBus.GetConnectionCredentials).
type credentials struct {
	uid uint32
	// pid is for people to see, and nothing else, except on an old bus.
	pid uint32
	// pidfd is -1 if an old bus has none: it took it when the connection was made (dbus
	// ≥ 1.15.8, dbus-broker ≥ 35).
	pidfd int
}

// ask asks the bus who sender is. The caller closes pidfd.
func ask(ctx context.Context, conn *dbus.Conn, sender string) (credentials, error) {
	c := credentials{pidfd: -1}
	reply := map[string]dbus.Variant{}
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionCredentials", 0, sender).Store(&reply); err != nil {
		return c, fmt.Errorf("ask the bus who %s is: %w", sender, err)
	}
	switch fd := reply["ProcessFD"].Value().(type) {
	case dbus.UnixFD:
		c.pidfd = int(fd)
	case dbus.UnixFDIndex:
		return c, errors.New("ask the bus who calls: it sent no pidfd")
	}
	var ok bool
	if c.uid, ok = reply["UnixUserID"].Value().(uint32); !ok {
		c.close()
		return c, fmt.Errorf("ask the bus who %s is: it does not tell the user", sender)
	}
	c.pid, _ = reply["ProcessID"].Value().(uint32)
	return c, nil
}

func (c *credentials) close() {
	if c.pidfd >= 0 {
		unix.Close(c.pidfd)
		c.pidfd = -1
	}
}

// identify asks the bus which process sender is. The caller closes pidfd, which is
// that of the process that made the connection, and of no other.
func (d *Door) identify(ctx context.Context, conn *dbus.Conn, sender string) (credentials, error) {
	c, err := ask(ctx, conn, sender)
	if err != nil || c.pidfd >= 0 {
		return c, err
	}
	c.pidfd, err = d.byNumber(ctx, conn, sender, c.pid)
	return c, err
}

// unitOf finds the service that sender's process belongs to.
func (m *methods) unitOf(ctx context.Context, sender string) (string, error) {
	c, err := m.known.identify(ctx, sender)
	unit := ""
	switch {
	case err == nil:
		unit, err = m.door.Unit(c.pidfd)
		c.close()
	case !errors.Is(err, callers.ErrNoUnit) && !errors.Is(err, errUnidentified):
		return "", err // which no caller has in its hands
	}
	owner := unit
	if err != nil {
		owner = fmt.Sprintf("user %d", c.uid)
	}
	return unit, errors.Join(err, m.door.Meter.Take(owner, time.Now()))
}
