package bus

import (
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/luod/internal/busoptions"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/polkit"
	"github.com/liveupdate/luod/luod/internal/record"
)

// unitPath is the object of one unit.
func unitPath(unit string) dbus.ObjectPath {
	return dbus.ObjectPath(Path + "/unit/" + systemd.PathBusEscape(unit))
}

// asUnit finds the caller's unit and has f deal with it.
func (m *methods) asUnit(sender dbus.Sender, f func(unit string) error) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	unit, err := m.unitOf(ctx, string(sender))
	if err == nil {
		err = f(unit)
	}
	return answer(err)
}

// Register makes the caller's unit take part in updates, and returns the object
// whose signals tell it so.
func (m *methods) Register(given map[string]dbus.Variant, sender dbus.Sender) (dbus.ObjectPath, *dbus.Error) {
	path := dbus.ObjectPath("/")
	return path, m.asUnit(sender, func(unit string) error {
		r, err := registerOptions(given)
		if err != nil {
			return err
		}
		path = unitPath(unit)
		return m.door.Registry.Register(m.ctx, unit, r)
	})
}

func registerOptions(given map[string]dbus.Variant) (record.Registration, error) {
	var r record.Registration
	var timeout uint64
	onFailure := "abort"
	err := busoptions.Decode(given, map[string]any{"timeout": &timeout, "on-failure": &onFailure, "after": &r.After, "before": &r.Before})
	switch {
	case err != nil:
		return r, err
	case onFailure != "abort" && onFailure != "ignore":
		return r, fault.New(errorname.BadRequest, `the option "on-failure" is abort or ignore, and not %q`, onFailure)
	case timeout > uint64(time.Hour/time.Microsecond):
		return r, fault.New(errorname.BadRequest, "the timeout of %d µs is too long", timeout)
	}
	r.Timeout, r.Optional = time.Duration(timeout)*time.Microsecond, onFailure == "ignore"
	return r, nil
}

// Unregister ends it.
func (m *methods) Unregister(sender dbus.Sender) *dbus.Error {
	return m.asUnit(sender, func(unit string) error { return m.door.Registry.Unregister(m.ctx, unit) })
}

// Ready says that the caller's unit is ready for the jump.
func (m *methods) Ready(sender dbus.Sender) *dbus.Error {
	return m.asUnit(sender, func(unit string) error { return m.door.Registry.Ready(m.ctx, unit) })
}

// maxReason is how long a reason may be, in bytes.
const maxReason = 1024

// Fail says that it can't be.
func (m *methods) Fail(reason string, sender dbus.Sender) *dbus.Error {
	return m.asUnit(sender, func(unit string) error {
		if len(reason) > maxReason {
			return fault.New(errorname.BadRequest, "the reason has %d bytes, and at most %d are taken", len(reason), maxReason)
		}
		return m.door.Registry.Fail(m.ctx, unit, printable.Line(reason))
	})
}

// Cancel takes the update back.
func (m *methods) Cancel(reason string, msg dbus.Message, sender dbus.Sender) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Cancel)
	if err == nil && len(reason) > maxReason {
		err = fault.New(errorname.BadRequest, "the reason has %d bytes, and at most %d are taken", len(reason), maxReason)
	}
	if err == nil {
		err = m.door.Registry.Cancel(ctx, printable.Line(reason))
	}
	return answer(err)
}
