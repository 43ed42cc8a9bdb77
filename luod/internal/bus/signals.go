package bus

import (
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/luod/internal/busstatus"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// maxSignals bounds what waits for a bus. Far more units than that can't be told
// anything in one update.
const maxSignals = 16384

// Announce tells services something as soon as there is a bus, in order. It
// never blocks.
func (d *Door) Announce(s coordinator.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.signals) >= maxSignals {
		d.signals = d.signals[1:]
	}
	d.signals = append(d.signals, s)
	d.wake()
}

// wake tells emit that there is something; it holds the lock.
func (d *Door) wake() {
	if d.more == nil {
		d.more = make(chan struct{}, 1)
	}
	select {
	case d.more <- struct{}{}:
	default:
	}
}

// emit sends what is announced until the connection is lost. What it could not
// send waits for the next connection.
func (d *Door) emit(conn *dbus.Conn) {
	d.mu.Lock()
	d.wake()
	more := d.more
	d.mu.Unlock()
	for {
		select {
		case <-more:
		case <-conn.Context().Done():
			return
		}
		for {
			d.say(conn) // before what services are told of it
			d.mu.Lock()
			if len(d.signals) == 0 {
				d.mu.Unlock()
				break
			}
			s := d.signals[0]
			d.mu.Unlock()
			if err := send(conn, s); err != nil {
				return
			}
			d.mu.Lock()
			d.signals = d.signals[1:]
			d.mu.Unlock()
		}
	}
}

func send(conn *dbus.Conn, s coordinator.Signal) error {
	switch {
	case s.Unit == "":
		return conn.Emit(Path, Interface+".PrepareForLiveUpdate", s.Start, s.Generation, busstatus.Monotonic(s.Deadline))
	case s.Start:
		return conn.Emit(unitPath(s.Unit), unitInterface+".PrepareForLiveUpdate", s.Generation, busstatus.Monotonic(s.Deadline))
	}
	return conn.Emit(unitPath(s.Unit), unitInterface+".Cancelled", s.Generation, s.Reason)
}
