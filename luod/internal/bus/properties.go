package bus

import (
	"reflect"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/liveupdate/luod/luod/internal/busstatus"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// described makes the library's of them. All are read-only.
func described(values map[string]any, emit prop.EmitType) map[string]*prop.Prop {
	props := map[string]*prop.Prop{}
	for name, value := range values {
		props[name] = &prop.Prop{Value: value, Emit: emit}
	}
	return props
}

// introspection says that every property announces its changes.
func introspection(values map[string]any) []introspect.Property {
	var list []introspect.Property
	for name, p := range described(values, prop.EmitTrue) {
		list = append(list, p.Introspection(name))
	}
	return list
}

// sayingDelay is how long the bus hears nothing of a change, so that many in a row
// are one signal. Who asks gets the new value at once.
const sayingDelay = 50 * time.Millisecond

// Changed shows a new status on the bus, and has it announced: at once if the phase
// changed, else soon. Without a bus it is kept until there is one. It never blocks.
func (d *Door) Changed(s coordinator.Status) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.latest = s
	d.told++
	if d.props != nil {
		d.show(s)
	}
}

// show is Changed on a bus that is there; it holds the lock.
func (d *Door) show(s coordinator.Status) {
	for name, value := range busstatus.Properties(s) {
		if !reflect.DeepEqual(d.shown[name], value) {
			d.props.SetMust(Interface, name, value)
			d.shown[name], d.unsaid[name] = value, value
		}
	}
	if _, urgent := d.unsaid["Phase"]; urgent {
		d.sayNow()
	} else if len(d.unsaid) > 0 && d.saying == nil {
		d.saying = time.AfterFunc(sayingDelay, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.sayNow()
		})
	}
}

// maxNews bounds what waits for a bus that is slow; then the rest is one announcement.
const maxNews = 64

// sayNow has emit announce what the bus has not heard of, in one signal; it holds the lock.
func (d *Door) sayNow() {
	if d.saying != nil {
		d.saying.Stop()
		d.saying = nil
	}
	if d.conn == nil || len(d.unsaid) == 0 {
		return
	}
	if len(d.news) < maxNews {
		d.news = append(d.news, map[string]dbus.Variant{})
	}
	for name, value := range d.unsaid {
		d.news[len(d.news)-1][name] = dbus.MakeVariant(value)
	}
	clear(d.unsaid)
	d.wake()
}

// say announces on conn what is to be announced. It waits for the bus, and whoever shows a
// new status does not.
func (d *Door) say(conn *dbus.Conn) {
	d.mu.Lock()
	var news []map[string]dbus.Variant
	if d.conn == conn {
		news, d.news = d.news, nil
	}
	d.mu.Unlock()
	for _, changed := range news {
		// Whoever misses it on a bus that is lost asks the next one.
		_ = conn.Emit(Path, "org.freedesktop.DBus.Properties.PropertiesChanged", Interface, changed, []string{})
	}
}
