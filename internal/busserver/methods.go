package busserver

import (
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5/introspect"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
)

// method is one that may be called.
type method struct {
	iface, name string
	args        []introspect.Arg
	// timeout bounds it; 0 leaves that to luod.
	timeout time.Duration
	// descriptors says that it takes some.
	descriptors bool
	// perform returns what is to be answered, and the descriptors of it that are to be
	// closed after that.
	perform func(c *call) ([]any, []foreign.Descriptor, error)
	// answered is called when the answer is on its way; nil does nothing.
	answered func(c *call, results []any)
}

// in is the signature of a call of it.
func (m method) in() string {
	var s strings.Builder
	for _, arg := range m.args {
		if arg.Direction == "in" {
			s.WriteString(arg.Type)
		}
	}
	return s.String()
}

const (
	// usual is how long a call may take.
	usual = 60 * time.Second
	// long is for what reads kernel images.
	long = 3 * usual
)

func in(name, kind string) introspect.Arg {
	return introspect.Arg{Name: name, Type: kind, Direction: "in"}
}

func out(name, kind string) introspect.Arg {
	return introspect.Arg{Name: name, Type: kind, Direction: "out"}
}

func args(list ...introspect.Arg) []introspect.Arg { return list }

// methods are all that there are. One of them tells of all.
var methods []method

func init() { methods = slices.Concat(manager, standard) }

// manager are those of luod's own interface.
var manager = []method{
	{name: "Preserve", args: args(in("fds", "a(sh)"), in("options", "a{sv}")), timeout: usual, descriptors: true, perform: (*call).preserve},
	{name: "Release", args: args(in("names", "as")), timeout: usual, perform: (*call).release},
	{name: "Retrieve", args: args(in("names", "as"), out("fds", "a(sh)")), timeout: usual, perform: (*call).retrieve, answered: (*call).retrieved},
	{name: "CreateSession", args: args(in("name", "s"), out("session", "h")), timeout: usual, perform: (*call).session},
	{name: "RetrieveSession", args: args(in("name", "s"), out("session", "h")), timeout: usual, perform: (*call).session},
	{name: "ReleaseSession", args: args(in("name", "s")), timeout: usual, perform: (*call).byName},
	{name: "Register", args: args(in("options", "a{sv}"), out("unit", "o")), timeout: usual, perform: (*call).register},
	{name: "Unregister", timeout: usual, perform: (*call).plainUnit},
	{name: "Ready", timeout: usual, perform: (*call).plainUnit},
	{name: "Fail", args: args(in("reason", "s")), timeout: usual, perform: (*call).fail},
	{name: "Inhibit", args: args(in("what", "s"), in("who", "s"), in("why", "s"), in("mode", "s"), out("fd", "h")), timeout: usual, perform: (*call).inhibit},
	{name: "ListInhibitors", args: args(out("inhibitors", "a(ssssuu)")), timeout: usual, perform: (*call).listInhibitors},
	{name: "Cancel", args: args(in("reason", "s")), timeout: usual, perform: (*call).cancel},
	{name: "ListNames", args: args(out("names", "a(ss)")), timeout: usual, perform: (*call).listNames},
	{name: "ListFileDescriptors", args: args(out("fds", "a(sstus)")), timeout: usual, perform: (*call).listFileDescriptors},
	{name: "Discard", args: args(in("unit", "s"), in("names", "as")), timeout: usual, perform: (*call).discard},
	{name: "DiscardAll", args: args(in("options", "a{sv}"), out("units", "a(sttt)"), out("unread", "s"), out("stuck", "t")), timeout: usual, perform: (*call).discardAll},
	{name: "Report", args: args(in("generation", "t"), out("report", "s")), timeout: usual, perform: (*call).report},
	{name: "ListEntries", args: args(out("entries", "aa{sv}")), timeout: long, perform: (*call).listEntries},
	{name: "Check", args: args(in("entry", "s"), in("options", "a{sv}"), out("results", "a(ssss)"), out("target", "a{sv}")), timeout: long, perform: (*call).kernel},
	{name: "Load", args: args(in("entry", "s"), in("options", "a{sv}"), out("results", "a(ssss)"), out("target", "a{sv}")), timeout: long, perform: (*call).kernel},
	{name: "Unload", timeout: usual, perform: (*call).unload},
	{name: "UnloadOwn", args: args(out("release", "s")), timeout: usual, perform: (*call).unloadOwn},
	{name: "LiveUpdate", args: args(in("options", "a{sv}"), out("generation", "t")), perform: (*call).liveUpdate},
}

// find finds the method that is called. A call may leave the interface out.
func find(h busconn.Header) (method, error) {
	if h.Interface == introspectInterface && (h.Path == "/" || strings.HasPrefix(Path, h.Path+"/")) {
		return methods[slices.IndexFunc(methods, func(m method) bool { return m.name == "Introspect" })], nil
	}
	known := false
	for _, m := range methods {
		iface := m.iface
		if iface == "" {
			iface = Interface
		}
		if h.Interface != "" && h.Interface != iface {
			continue
		}
		known = true
		if h.Member != m.name {
			continue
		}
		if h.Path != Path && iface != peerInterface {
			return method{}, &buslink.Error{Name: unknownObject, Text: "there is no such object; luod's is " + Path}
		}
		return m, nil
	}
	if !known {
		return method{}, &buslink.Error{Name: unknownInterface, Text: "there is no such interface; luod's is " + Interface}
	}
	return method{}, &buslink.Error{Name: unknownMethod, Text: "there is no such method"}
}

// Methods are the names of luod's own.
func Methods() []string {
	var names []string
	for _, m := range manager {
		names = append(names, m.name)
	}
	return names
}
