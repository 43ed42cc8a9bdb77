package busserver

import (
	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/printable"
)

// named is a descriptor with its name on the bus: (sh). An array of these and
// not a pair of arrays, because the library can't read an array of descriptors.
type named struct {
	Name string
	FD   dbus.UnixFD
}

// preserve passes on what the caller's unit hands over.
func (c *call) preserve() ([]any, []foreign.Descriptor, error) {
	names, indexes := c.arguments.Named()
	options(c.arguments, nil)
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	fds, seen := []int{}, map[uint32]bool{}
	for _, i := range indexes {
		switch {
		case i >= uint32(len(c.message.Descriptors)):
			return nil, nil, refuse(errorname.BadCount, "the call has %d file descriptors, and number %d is meant", len(c.message.Descriptors), i)
		case seen[i]:
			return nil, nil, refuse(errorname.FileInUse, "the same file descriptor is given twice in one call")
		}
		seen[i] = true
		fds = append(fds, int(c.message.Descriptors[i]))
	}
	if _, err := c.asUnit(buslink.Names{Names: names}, nil, fds...); err != nil {
		return nil, nil, err
	}
	if len(fds) == len(c.message.Descriptors) {
		// What luod has taken is in memory, all of it, and nobody is waited for.
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
		c.message.Descriptors = nil
	}
	return nil, nil, nil
}

func (c *call) release() ([]any, []foreign.Descriptor, error) {
	names := c.arguments.Texts()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	_, err := c.asUnit(buslink.Names{Names: names}, nil)
	return nil, nil, err
}

// retrieve returns duplicates of what the caller's unit has.
func (c *call) retrieve() ([]any, []foreign.Descriptor, error) {
	names := c.arguments.Texts()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	var fetched buslink.Fetched
	files, err := c.asUnit(buslink.Names{Names: names}, &fetched)
	if err != nil {
		return nil, nil, err
	}
	if len(files) != len(fetched.Names) {
		return nil, files, refuse(errorname.BadCount, "luod gave %d file descriptors for %d names", len(files), len(fetched.Names))
	}
	if most := c.descriptorsMax(len(files)); len(files) > most {
		return nil, files, refuse(errorname.TooMany, "it is %d file descriptors, and this bus lets a message have %d: name as many at a time (ListNames)", len(files), most)
	}
	list := make([]named, len(files))
	for i, f := range files {
		list[i] = named{fetched.Names[i], dbus.UnixFD(f)}
	}
	return []any{list}, files, nil
}

// retrieved tells luod that they are on their way. What belongs into the unit's fd store
// is fetched when it is there.
func (c *call) retrieved(results []any) {
	names := []string{}
	for _, n := range results[0].([]named) {
		if !entryname.Adopted(n.Name) {
			names = append(names, n.Name)
		}
	}
	if _, err := c.pass("Fetched", true, nil, buslink.Names{Names: names}, nil); err != nil {
		c.Log.Warn("could not note what a unit fetched", "by", c.message.Sender, "error", err)
	}
}

// session returns one that the caller's unit fills or empties itself.
func (c *call) session() ([]any, []foreign.Descriptor, error) {
	name := c.arguments.Text()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	return c.one(c.asUnit(buslink.Name{Name: name}, nil))
}

// one is an answer that is a single descriptor.
func (c *call) one(files []foreign.Descriptor, err error) ([]any, []foreign.Descriptor, error) {
	if err == nil && len(files) != 1 {
		err = refuse(errorname.BadCount, "luod gave %d file descriptors, and not one", len(files))
	}
	if err != nil {
		return nil, files, err
	}
	return []any{dbus.UnixFD(files[0])}, files, nil
}

func (c *call) byName() ([]any, []foreign.Descriptor, error) {
	name := c.arguments.Text()
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	_, err := c.asUnit(buslink.Name{Name: name}, nil)
	return nil, nil, err
}

// plainUnit is a method without arguments.
func (c *call) plainUnit() ([]any, []foreign.Descriptor, error) {
	_, err := c.asUnit(nil, nil)
	return nil, nil, err
}

// unitPath is the object of one unit.
func unitPath(unit string) dbus.ObjectPath {
	return dbus.ObjectPath(Path + "/unit/" + systemd.PathBusEscape(unit))
}

// register makes the caller's unit take part in updates, and returns the object
// whose signals tell it so.
func (c *call) register() ([]any, []foreign.Descriptor, error) {
	var r buslink.Registration
	onFailure := "abort"
	options(c.arguments, map[string]any{"timeout": &r.Timeout, "on-failure": &onFailure, "after": &r.After, "before": &r.Before})
	err := c.understood()
	switch {
	case err != nil:
		return nil, nil, err
	case onFailure != "abort" && onFailure != "ignore":
		return nil, nil, refuse(errorname.BadRequest, `the option "on-failure" is abort or ignore, and not %q`, onFailure)
	case r.Timeout > buslink.MaxTimeout:
		return nil, nil, refuse(errorname.BadRequest, "the timeout of %d µs is too long", r.Timeout)
	}
	r.Optional = onFailure == "ignore"
	var registered buslink.Registered
	if _, err := c.asUnit(r, &registered); err != nil {
		return nil, nil, err
	}
	return []any{unitPath(registered.Unit)}, nil, nil
}

func (c *call) fail() ([]any, []foreign.Descriptor, error) {
	reason, err := c.reason()
	if err == nil {
		_, err = c.asUnit(buslink.Name{Name: reason}, nil)
	}
	return nil, nil, err
}

// reason is the only argument, fit for a terminal.
func (c *call) reason() (string, error) {
	reason := c.arguments.Text()
	if err := c.understood(); err != nil {
		return "", err
	}
	if len(reason) > buslink.MaxReason {
		return "", refuse(errorname.BadRequest, "the reason has %d bytes, and at most %d are taken", len(reason), buslink.MaxReason)
	}
	return printable.Line(reason), nil
}

func (c *call) listNames() ([]any, []foreign.Descriptor, error) {
	names := []buslink.Named{}
	_, err := c.asUnit(nil, &names)
	return []any{names}, nil, err
}

// inhibit takes a lock against live updates, or to be told of them first. The caller's
// copy of the descriptor keeps it.
func (c *call) inhibit() ([]any, []foreign.Descriptor, error) {
	a := c.arguments
	i := buslink.Inhibitor{What: a.Text(), Who: printable.Line(a.Text()), Why: printable.Line(a.Text()), Mode: a.Text()}
	if err := c.understood(); err != nil {
		return nil, nil, err
	}
	return c.one(c.asAdmin([]string{i.Action()}, i, nil))
}

// probes are how many descriptors a bus may let a message have, from the most to what
// every bus does (dbus: bus/config-parser.c, max_message_unix_fds).
var probes = []int{buslink.MaxDescriptors, 128, 64, 32}

const anyBus = 16

// descriptorsMax is how many descriptors a message of n or more may have on this bus. More
// would end this connection, and with it everybody's calls; so it is found out on another
// when it matters first.
func (v *serving) descriptorsMax(n int) int {
	if n <= anyBus {
		return anyBus
	}
	if v.peer != nil {
		return buslink.MaxDescriptors
	}
	v.fdsOnce.Do(func() {
		v.fds = anyBus
		for _, n := range probes {
			if v.probe(n) {
				v.fds = n
				break
			}
		}
	})
	return v.fds
}

// probe sends a call with n descriptors to the bus itself, on a connection of its own.
func (v *serving) probe(n int) bool {
	conn, err := v.Bus(v.ctx, nil)
	if err != nil {
		return false
	}
	defer conn.Close()
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	type one struct{ FD dbus.UnixFD }
	list := make([]one, n)
	for i := range list {
		list[i].FD = dbus.UnixFD(fd)
	}
	// It has no such arguments; what counts is that it says so.
	_, err = conn.Call(v.ctx, busconn.Bus, "GetId", list)
	return err == nil || busconn.IsRemote(err)
}
