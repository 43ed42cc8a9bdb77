package bus

import (
	"context"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/polkit"
)

// Inhibitors lists all inhibitors there are: luod's own, and logind's against a
// shutdown if there is a bus to ask it over.
func (d *Door) Inhibitors(ctx context.Context) ([]inhibitors.Inhibitor, error) {
	list := d.Locks.List()
	d.mu.Lock()
	conn := d.conn
	d.mu.Unlock()
	if conn == nil {
		return list, nil
	}
	others, err := inhibitors.Logind(ctx, conn)
	return append(list, others...), err
}

// Inhibit takes a lock against live updates, or to be told of them first, and
// sends the descriptor that keeps it. Like Retrieve it sends the reply itself.
func (m *methods) Inhibit(what, who, why, mode string, msg dbus.Message, sender dbus.Sender) (dbus.UnixFD, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	action := polkit.InhibitBlock
	if inhibitors.Mode(mode) == inhibitors.Delay {
		action = polkit.InhibitDelay
	}
	if err := m.door.authorize(ctx, m.conn, msg, string(sender), action); err != nil {
		return -1, answer(err)
	}
	c, err := ask(ctx, m.conn, string(sender))
	if err != nil {
		return -1, answer(err)
	}
	c.close()
	i := inhibitors.Inhibitor{What: what, Who: printable.Line(who), Why: printable.Line(why), Mode: inhibitors.Mode(mode), UID: c.uid, PID: c.pid}
	if p, err := m.known.identify(ctx, string(sender)); err == nil {
		i.Unit, _ = m.door.Unit(p.pidfd) // a user's session may inhibit as well
		p.close()
	}
	f, err := m.door.Locks.Add(i)
	if err != nil {
		return -1, answer(err)
	}
	// The caller's copy keeps the lock.
	defer f.Close()
	m.reply(msg, sender, dbus.UnixFD(f.Fd()))
	m.door.Log.Info("live updates are inhibited", "who", who, "why", why, "mode", mode, "uid", c.uid, "pid", c.pid)
	return -1, nil
}

// inhibitor is one on the bus, as in logind's ListInhibitors: (ssssuu).
type inhibitor struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// ListInhibitors lists them to anybody, as logind does.
func (m *methods) ListInhibitors() ([]inhibitor, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	all, err := m.door.Inhibitors(ctx)
	list := []inhibitor{}
	for _, i := range all {
		list = append(list, inhibitor{i.What, i.Who, i.Why, string(i.Mode), i.UID, i.PID})
	}
	return list, answer(err)
}
