package bus

import (
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/luod/internal/busfds"
)

// Any client may attach descriptors to any message, and the library leaves them
// to whoever looks at the body. inspect sees every message before anybody else
// and closes those that no method takes over. Descriptors that the body doesn't
// even point to can't be found: they are counted, and at strayLimit luod has
// itself restarted, which loses nothing and closes them all.
const strayLimit = 4096

// inspect is the connection's interceptor for incoming messages.
func (d *Door) inspect(msg *dbus.Message) {
	ownReply(msg)
	attached, ok := msg.Headers[dbus.FieldUnixFDs].Value().(uint32)
	if !ok || attached == 0 {
		return
	}
	all := map[dbus.UnixFD]bool{}
	for _, v := range msg.Body {
		busfds.Collect(v, all)
	}
	if stray := int(attached) - len(all); stray > 0 {
		d.stray(stray)
	}
	if msg.Type == dbus.TypeMethodReply {
		return // to a call of ours, which takes what it asked for
	}
	if msg.Type == dbus.TypeMethodCall && preserves(msg) {
		// Preserve owns what its first argument has.
		owned := map[dbus.UnixFD]bool{}
		busfds.Collect(msg.Body[0], owned)
		for fd := range owned {
			delete(all, fd)
		}
	} else {
		// No method may see a number that is closed now.
		msg.Body = []any{struct{}{}}
	}
	for fd := range all {
		d.Bin.Close(foreign.Descriptor(fd))
	}
}

func preserves(msg *dbus.Message) bool {
	signature, _ := msg.Headers[dbus.FieldSignature].Value().(dbus.Signature)
	return msg.Headers[dbus.FieldMember].Value() == "Preserve" &&
		msg.Headers[dbus.FieldInterface].Value() == Interface &&
		msg.Headers[dbus.FieldPath].Value() == dbus.ObjectPath(Path) &&
		signature.String() == "a(sh)a{sv}" && len(msg.Body) == 2
}

func (d *Door) stray(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.strays += n
	// A process with something open that can't be closed could not end: what luod has
	// by then is better than no luod.
	if d.strays >= strayLimit && !d.exhausted && !d.Bin.Hangs() {
		d.exhausted = true
		d.Log.Warn("clients have left so many file descriptors here that luod should be restarted", "count", d.strays)
		if d.Exhausted != nil {
			d.Exhausted()
		}
	}
}
