// Package polkit asks polkit whether a caller on the system bus may do something. Root is
// nobody's to ask about. Where there is no polkit, only root may do anything.
package polkit

import (
	"context"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"
)

// The actions of packaging/org.luod.LiveUpdate1.policy.
const (
	Update       = "org.luod.LiveUpdate1.live-update"
	Load         = "org.luod.LiveUpdate1.load"
	Check        = "org.luod.LiveUpdate1.check"
	Cancel       = "org.luod.LiveUpdate1.cancel"
	InhibitBlock = "org.luod.LiveUpdate1.inhibit-block"
	InhibitDelay = "org.luod.LiveUpdate1.inhibit-delay"
	Ignore       = "org.luod.LiveUpdate1.ignore-inhibitors"
	Discard      = "org.luod.LiveUpdate1.discard"
	List         = "org.luod.LiveUpdate1.list"
)

// ErrDenied is an answer, not a failure.
var ErrDenied = errors.New("permission denied")

// Ask asks whether sender, a connection of the user uid, may do action
// (org.freedesktop.PolicyKit1.Authority.CheckAuthorization); interactive lets polkit ask an
// administrator for a password. Everything but a yes wraps ErrDenied.
func Ask(ctx context.Context, conn *dbus.Conn, sender string, uid uint32, action string, interactive bool) error {
	type subject struct {
		Kind    string
		Details map[string]dbus.Variant
	}
	var result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	var flags uint32
	if interactive {
		flags = 1
	}
	authority := conn.Object("org.freedesktop.PolicyKit1", "/org/freedesktop/PolicyKit1/Authority")
	err := authority.CallWithContext(ctx, "org.freedesktop.PolicyKit1.Authority.CheckAuthorization", 0,
		subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(sender)}},
		action, map[string]string{}, flags, "").Store(&result)
	switch {
	case err != nil:
		return fmt.Errorf("%w: user %d is not root and polkit can't be asked about %s: %v", ErrDenied, uid, action, err)
	case result.Authorized:
		return nil
	case result.Challenge:
		return fmt.Errorf("%w: %s needs an administrator's password, and no agent asks for it here; use sudo or pkexec", ErrDenied, action)
	}
	return fmt.Errorf("%w: user %d may not do %s", ErrDenied, uid, action)
}
