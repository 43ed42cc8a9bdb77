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
	uid   uint32
	pid   uint32 // for people to see, and nothing else
	pidfd int
}

// identify asks the bus who sender is. The caller closes pidfd. The bus took
// ProcessFD when the connection was made (dbus ≥ 1.15.8, dbus-broker ≥ 35). An
// older bus gives only the PID: it is opened now and the bus asked again, which
// leaves the gap of a process that passed its connection on and died.
func identify(ctx context.Context, conn *dbus.Conn, sender string) (credentials, error) {
	c := credentials{pidfd: -1}
	reply := map[string]dbus.Variant{}
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionCredentials", 0, sender).Store(&reply); err != nil {
		return c, fmt.Errorf("ask the bus who %s is: %w", sender, err)
	}
	uid, ok := reply["UnixUserID"].Value().(uint32)
	if !ok {
		return c, fmt.Errorf("ask the bus who %s is: it does not tell the user", sender)
	}
	c.uid = uid
	c.pid, _ = reply["ProcessID"].Value().(uint32)
	switch fd := reply["ProcessFD"].Value().(type) {
	case dbus.UnixFD:
		c.pidfd = int(fd)
		return c, nil
	case dbus.UnixFDIndex:
		return c, errors.New("ask the bus who calls: it sent no pidfd")
	}
	pid, ok := reply["ProcessID"].Value().(uint32)
	if !ok {
		return c, fmt.Errorf("ask the bus who %s is: it tells no process", sender)
	}
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return c, fmt.Errorf("%w: process %d is gone", callers.ErrNoUnit, pid)
	}
	var again uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, sender).Store(&again); err != nil || again != pid {
		unix.Close(pidfd)
		return c, fmt.Errorf("%w: its connection %s is gone", callers.ErrNoUnit, sender)
	}
	c.pidfd = pidfd
	return c, nil
}

// unitOf finds the service that sender's process belongs to.
func (m *methods) unitOf(ctx context.Context, sender string) (string, error) {
	c, err := m.known.identify(ctx, m.conn, sender)
	if err != nil {
		return "", err
	}
	defer unix.Close(c.pidfd)
	unit, err := m.door.Unit(c.pidfd)
	owner := unit
	if err != nil {
		owner = fmt.Sprintf("user %d", c.uid)
	}
	return unit, errors.Join(err, m.door.Meter.Take(owner, time.Now()))
}
