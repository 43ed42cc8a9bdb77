package inhibitors

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/godbus/dbus/v5"
)

// logindLock is one entry of what ListInhibitors returns, a(ssssuu)
// (org.freedesktop.login1(5)).
type logindLock struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// Logind returns logind's locks against a shutdown, in its order and with the mode
// that logind says. It borrows conn, and where logind isn't on the bus there are
// none. An activatable logind is started: it may just be restarting, and its locks
// outlive that.
func Logind(ctx context.Context, conn *dbus.Conn) ([]Inhibitor, error) {
	var locks []logindLock
	err := conn.Object("org.freedesktop.login1", "/org/freedesktop/login1").
		CallWithContext(ctx, "org.freedesktop.login1.Manager.ListInhibitors", 0).Store(&locks)
	if NoLogind(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask logind for its inhibitors: %w", err)
	}
	return againstShutdown(locks), nil
}

// NoLogind says whether err means that there is none: the first two are the bus's
// own (D-Bus specification, standard errors), the others what PID 1 answers to the
// activation of a unit that is missing or masked (systemd: bus-common-errors.h).
func NoLogind(err error) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains([]string{
		"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked",
	}, e.Name)
}

func againstShutdown(locks []logindLock) []Inhibitor {
	var list []Inhibitor
	for _, l := range locks {
		if slices.Contains(strings.Split(l.What, ":"), "shutdown") {
			list = append(list, Inhibitor{What: l.What, Who: l.Who, Why: l.Why, Mode: Mode(l.Mode), UID: l.UID, PID: l.PID})
		}
	}
	return list
}
