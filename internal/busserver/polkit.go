package busserver

import (
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/printable"
)

var authority = busconn.Object{Destination: "org.freedesktop.PolicyKit1", Path: "/org/freedesktop/PolicyKit1/Authority", Interface: "org.freedesktop.PolicyKit1.Authority"}

// polkit asks polkit whether the caller may do action
// (org.freedesktop.PolicyKit1.Authority.CheckAuthorization), who may be asked for a
// password if the message lets it. polkit answers this user about others because the
// actions say that they are its own (org.freedesktop.policykit.owner, polkit(8)).
// Everything but a yes is AccessDenied; where there is no polkit, only root may do anything.
func (c *call) polkit(action string) error {
	type subject struct {
		Kind    string
		Details map[string]dbus.Variant
	}
	var result struct {
		Authorized, Challenge bool
		Details               map[string]string
	}
	var flags uint32
	if c.message.Flags&dbus.FlagAllowInteractiveAuthorization != 0 {
		flags = 1
	}
	reply, err := c.conn.Call(c.ctx, authority, "CheckAuthorization",
		subject{"system-bus-name", map[string]dbus.Variant{"name": dbus.MakeVariant(c.message.Sender)}},
		action, map[string]string{}, flags, "")
	if err == nil {
		defer reply.Close()
		err = reply.Store(&result)
	}
	switch {
	case err != nil:
		return denied("user %d is not root and polkit can't be asked about %s: %v", c.who.uid, action, err)
	case result.Authorized:
		return nil
	case result.Challenge:
		return denied("%s needs an administrator's password, and no agent asks for it here; use sudo or pkexec", action)
	}
	return denied("user %d may not do %s", c.who.uid, action)
}

func denied(format string, args ...any) error {
	return &buslink.Error{Name: errorname.AccessDenied, Text: "permission denied: " + printable.Text(fmt.Sprintf(format, args...))}
}
