package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/luod/internal/callers"
)

// errUnidentified is wrapped by the error of a call of which luod can't make sure whose
// it is.
var errUnidentified = errors.New("luod can't make sure which process calls: this bus only has the PID that it had when it connected (dbus before 1.15.8, dbus-broker before 35)")

// instead is what to do about it.
const instead = "use luod-reissue(8), which needs no bus, or a newer bus"

// vouchRate and vouchBurst bound how often Vouch, which may run a program, is asked
// about connections of one unit: in a second, and in a row.
const vouchRate, vouchBurst = 5, 100

// byNumber opens the process that made sender's connection on a bus that has only pid
// of it. When that was written down is of no use: it is the process that called
// connect(2), any time before the bus noticed, so that nothing is known that the
// process of today could be older than. The bus's own sockets know better, see
// peers.Vouch: opened before that and there after it, the process is theirs; and sender's
// connection was one of them if it is there after it too.
func (d *Door) byNumber(ctx context.Context, conn *dbus.Conn, sender string, pid uint32) (int, error) {
	pidfd, err := unix.PidfdOpen(int(pid), 0)
	if err != nil {
		return -1, fmt.Errorf("%w: process %d is gone", callers.ErrNoUnit, pid)
	}
	err = d.vouched(ctx, conn, pidfd, pid)
	if err == nil {
		err = peers.Alive(pidfd)
	}
	if err == nil {
		err = stillThere(ctx, conn, sender, pid)
	}
	if err != nil {
		unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}

// vouched returns nil if all that the bus knows as process pid is the process called so
// now, which pidfd is.
func (d *Door) vouched(ctx context.Context, conn *dbus.Conn, pidfd int, pid uint32) error {
	// Who speaks for no unit whichever it is gets no program run.
	unit, err := d.Unit(pidfd)
	if err != nil {
		return err
	}
	if harmless, err := d.harmless(ctx); harmless || err != nil {
		return err
	}
	var bus uint32
	if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, "org.freedesktop.DBus").Store(&bus); err != nil {
		return fmt.Errorf("%w, and does not tell its own; %s: %w", errUnidentified, instead, err)
	}
	d.vouching.Lock() // one at a time is what a flood shall get
	defer d.vouching.Unlock()
	d.newCalls.Rate, d.newCalls.Burst = vouchRate, vouchBurst
	if err := d.newCalls.Take(unit+" on new connections", time.Now()); err != nil {
		return err
	}
	if err := d.Vouch(ctx, bus, pid); err != nil {
		return fmt.Errorf("%w; %s: %w", errUnidentified, instead, err)
	}
	return nil
}

// harmless says that it doesn't matter who calls: a kernel that can't tell either is
// older than live updates, nothing is held, and nothing can be handed over.
func (d *Door) harmless(ctx context.Context) (bool, error) {
	can, err := peers.Supported()
	if err != nil || can {
		return false, err
	}
	status, err := d.Registry.Status(ctx)
	if err != nil {
		return false, err
	}
	if status.Unsupported == "" || status.FileDescriptors > 0 {
		return false, fmt.Errorf("%w; %s: %w", errUnidentified, instead, peers.ErrNotSupported)
	}
	return true, nil
}

// stillThere returns nil if sender's connection was open when this began. The bus
// forgets a connection that it has closed only when it comes to that, at the end of the
// round of its main loop in which it may answer the first question (dbus:
// dbus/dbus-mainloop.c); the second, which is asked after that answer, is of a later one.
func stillThere(ctx context.Context, conn *dbus.Conn, sender string, pid uint32) error {
	for range 2 {
		var again uint32
		if err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.GetConnectionUnixProcessID", 0, sender).Store(&again); err != nil || again != pid {
			return fmt.Errorf("%w: its connection %s is gone", callers.ErrNoUnit, sender)
		}
	}
	return nil
}
