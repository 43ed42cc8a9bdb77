package bus

import (
	"reflect"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/godbus/dbus/v5/prop"

	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/record"
)

// mark is a moment of the time line on the bus: (st), in µs of CLOCK_REALTIME.
type mark struct {
	Name string
	Usec uint64
}

// loss is a lost file descriptor on the bus: (sss).
type loss struct{ Unit, Name, Reason string }

// service is one that is being prepared on the bus: (ssst), with its deadline in
// µs of CLOCK_MONOTONIC or 0.
type service struct {
	Unit, State, Reason string
	Deadline            uint64
}

// leftBehind is a service that the last update went on without: (ss).
type leftBehind struct{ Unit, Reason string }

// properties is a status as the bus shows it.
func properties(s coordinator.Status) map[string]any {
	timeLine := []mark{}
	for _, m := range s.TimeLine {
		timeLine = append(timeLine, mark{m.Name, uint64(m.Usec)})
	}
	lost := []loss{}
	for _, l := range s.Lost {
		lost = append(lost, loss{l.Unit, l.Name, l.Reason})
	}
	scheduled := uint64(0)
	if !s.Scheduled.IsZero() {
		scheduled = uint64(s.Scheduled.UnixMicro())
	}
	services := []service{}
	for _, v := range s.Services {
		services = append(services, service{v.Unit, string(v.State), v.Reason, monotonic(v.Deadline)})
	}
	without := []leftBehind{}
	for _, l := range s.LeftBehind {
		without = append(without, leftBehind(l))
	}
	var loaded record.Loaded
	if s.Loaded != nil {
		loaded = *s.Loaded
	}
	return map[string]any{
		"Phase": string(s.Phase), "Generation": s.Generation, "Kernel": s.Kernel,
		"Unsupported": s.Unsupported, "Degraded": s.Degraded, "Warning": s.Warning,
		"LoadedKernel": loaded.Target.Kernel, "LoadedInitrds": append([]string{}, loaded.Target.Initrds...),
		"LoadedCommandLine": loaded.Target.CommandLine, "LoadedRelease": loaded.Release,
		"Units": s.Units, "FileDescriptors": s.FileDescriptors, "Bytes": s.Bytes,
		"Waiting": s.Waiting, "OldKernel": s.OldKernel, "Lost": lost,
		"TimeLine": timeLine, "LastError": s.LastError,
		"Scheduled": scheduled, "Services": services, "LeftBehind": without,
	}
}

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

// Changed shows a new status on the bus, and announces it: at once if the phase
// changed, else soon. Without a bus it is kept until there is one.
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
	for name, value := range properties(s) {
		if !reflect.DeepEqual(d.shown[name], value) {
			d.props.SetMust(Interface, name, value)
			d.shown[name], d.unsaid[name] = value, value
		}
	}
	if _, urgent := d.unsaid["Phase"]; urgent {
		d.say()
	} else if len(d.unsaid) > 0 && d.saying == nil {
		d.saying = time.AfterFunc(sayingDelay, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.say()
		})
	}
}

// say announces what the bus has not heard of, in one signal; it holds the lock.
func (d *Door) say() {
	if d.saying != nil {
		d.saying.Stop()
		d.saying = nil
	}
	if d.conn == nil || len(d.unsaid) == 0 {
		return
	}
	changed := map[string]dbus.Variant{}
	for name, value := range d.unsaid {
		changed[name] = dbus.MakeVariant(value)
	}
	clear(d.unsaid)
	// Whoever misses it on a bus that is lost asks the next one.
	_ = d.conn.Emit(Path, "org.freedesktop.DBus.Properties.PropertiesChanged", Interface, changed, []string{})
}
