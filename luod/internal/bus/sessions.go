package bus

import (
	"context"
	"os"

	"github.com/godbus/dbus/v5"
)

// CreateSession makes a session that the caller's unit fills itself, and sends its
// descriptor. Like Retrieve it sends the reply itself.
func (m *methods) CreateSession(name string, msg dbus.Message, sender dbus.Sender) (dbus.UnixFD, *dbus.Error) {
	return m.session(msg, sender, func(ctx context.Context, unit string) (*os.File, error) {
		return m.door.Registry.CreateSession(ctx, unit, name)
	})
}

// RetrieveSession sends one that came through an update.
func (m *methods) RetrieveSession(name string, msg dbus.Message, sender dbus.Sender) (dbus.UnixFD, *dbus.Error) {
	return m.session(msg, sender, func(ctx context.Context, unit string) (*os.File, error) {
		return m.door.Registry.RetrieveSession(ctx, unit, name)
	})
}

func (m *methods) session(msg dbus.Message, sender dbus.Sender, get func(ctx context.Context, unit string) (*os.File, error)) (dbus.UnixFD, *dbus.Error) {
	var session *os.File
	if err := m.asUnit(sender, func(unit string) (err error) {
		session, err = get(m.ctx, unit)
		return err
	}); err != nil {
		return -1, err
	}
	defer session.Close()
	m.reply(msg, sender, dbus.UnixFD(session.Fd()))
	return -1, nil
}

// ReleaseSession gives one up.
func (m *methods) ReleaseSession(name string, sender dbus.Sender) *dbus.Error {
	return m.asUnit(sender, func(unit string) error { return m.door.Registry.ReleaseSession(m.ctx, unit, name) })
}
