package bus

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/luod/internal/busoptions"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/polkit"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// timeout bounds a call. LiveUpdate has its own.
const timeout = 60 * time.Second

// methods is what the bus may call. Each runs in a goroutine of its own.
type methods struct {
	door *Door
	conn *dbus.Conn
	ctx  context.Context
	// known is of conn.
	known *known
}

func describe() []introspect.Method {
	in := func(name, kind string) introspect.Arg {
		return introspect.Arg{Name: name, Type: kind, Direction: "in"}
	}
	out := func(name, kind string) introspect.Arg {
		return introspect.Arg{Name: name, Type: kind, Direction: "out"}
	}
	return []introspect.Method{
		{Name: "Preserve", Args: []introspect.Arg{in("fds", "a(sh)"), in("options", "a{sv}")}},
		{Name: "Release", Args: []introspect.Arg{in("names", "as")}},
		{Name: "Retrieve", Args: []introspect.Arg{in("names", "as"), out("fds", "a(sh)")}},
		{Name: "CreateSession", Args: []introspect.Arg{in("name", "s"), out("session", "h")}},
		{Name: "RetrieveSession", Args: []introspect.Arg{in("name", "s"), out("session", "h")}},
		{Name: "ReleaseSession", Args: []introspect.Arg{in("name", "s")}},
		{Name: "Register", Args: []introspect.Arg{in("options", "a{sv}"), out("unit", "o")}},
		{Name: "Unregister"},
		{Name: "Ready"},
		{Name: "Fail", Args: []introspect.Arg{in("reason", "s")}},
		{Name: "Inhibit", Args: []introspect.Arg{in("what", "s"), in("who", "s"), in("why", "s"), in("mode", "s"), out("fd", "h")}},
		{Name: "ListInhibitors", Args: []introspect.Arg{out("inhibitors", "a(ssssuu)")}},
		{Name: "Cancel", Args: []introspect.Arg{in("reason", "s")}},
		{Name: "ListNames", Args: []introspect.Arg{out("names", "a(ss)")}},
		{Name: "ListFileDescriptors", Args: []introspect.Arg{out("fds", "a(sstus)")}},
		{Name: "Discard", Args: []introspect.Arg{in("unit", "s"), in("names", "as")}},
		{Name: "DiscardAll", Args: []introspect.Arg{in("options", "a{sv}"), out("units", "a(sttt)"), out("unread", "s"), out("stuck", "t")}},
		{Name: "Report", Args: []introspect.Arg{in("generation", "t"), out("report", "s")}},
		{Name: "ListEntries", Args: []introspect.Arg{out("entries", "aa{sv}")}},
		{Name: "Check", Args: []introspect.Arg{in("entry", "s"), in("options", "a{sv}"), out("results", "a(ssss)"), out("target", "a{sv}")}},
		{Name: "Load", Args: []introspect.Arg{in("entry", "s"), in("options", "a{sv}"), out("results", "a(ssss)"), out("target", "a{sv}")}},
		{Name: "Unload"},
		{Name: "UnloadOwn", Args: []introspect.Arg{out("release", "s")}},
		{Name: "LiveUpdate", Args: []introspect.Arg{in("options", "a{sv}"), out("generation", "t")}},
	}
}

// answer turns an error into the bus's.
func answer(err error) *dbus.Error {
	if err == nil {
		return nil
	}
	name := errorname.Failed
	var refusal *vault.Refusal
	var named *fault.Fault
	var noLock *inhibitors.Refusal
	var exceeded *quota.Exceeded
	switch {
	case errors.As(err, &exceeded):
		name = errorname.Prefix + errorname.TooManyCalls
	case errors.As(err, &noLock):
		name = errorname.Prefix + noLock.Reason
	case errors.As(err, &refusal):
		name = errorname.Prefix + string(refusal.Reason)
	case errors.As(err, &named):
		name = errorname.Prefix + named.Name
	case errors.Is(err, callers.ErrNoUnit):
		name = errorname.Prefix + errorname.NoUnit
	case errors.Is(err, errUnidentified):
		name = errorname.Prefix + errorname.Unidentified
	case errors.Is(err, polkit.ErrDenied):
		name = errorname.AccessDenied
	}
	return dbus.NewError(name, []any{printable.Text(err.Error())})
}

func (m *methods) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, timeout)
}

// named is a descriptor with its name on the bus: (sh). An array of these and
// not a pair of arrays, because the library can't read an array of descriptors.
type named struct {
	Name string
	FD   dbus.UnixFD
}

// own takes the descriptors of a message over. The same number may be in it
// twice, since a message may point to one descriptor from several places.
func own(fds []named) (names []string, list []foreign.Descriptor, distinct bool) {
	seen := map[dbus.UnixFD]bool{}
	for _, n := range fds {
		names = append(names, n.Name)
		if !seen[n.FD] {
			list = append(list, foreign.Descriptor(n.FD))
		}
		seen[n.FD] = true
	}
	return names, list, len(list) == len(names)
}

// Preserve takes descriptors over from the caller's unit.
func (m *methods) Preserve(fds []named, given map[string]dbus.Variant, sender dbus.Sender) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	names, list, distinct := own(fds)
	err := busoptions.Decode(given, nil)
	if err == nil && !distinct {
		err = &vault.Refusal{Reason: vault.FileInUse, Text: "the same file descriptor is given twice in one call"}
	}
	var unit string
	if err == nil {
		unit, err = m.unitOf(ctx, string(sender))
	}
	var files []*os.File
	if err == nil {
		files, err = vault.Take(names, list)
	}
	if err != nil {
		m.door.Bin.Close(list...)
		return answer(err)
	}
	if err := m.door.Registry.Preserve(ctx, unit, names, files); err != nil {
		helperprotocol.Close(files)
		return answer(err)
	}
	return nil
}

// Release gives up descriptors of the caller's unit.
func (m *methods) Release(names []string, sender dbus.Sender) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	unit, err := m.unitOf(ctx, string(sender))
	if err == nil {
		err = m.door.Registry.Release(ctx, unit, names)
	}
	return answer(err)
}

// Retrieve sends descriptors of the caller's unit back. It sends the reply
// itself (see ownReply), because the library tells nobody when a reply is out
// and the duplicates may be closed.
func (m *methods) Retrieve(names []string, msg dbus.Message, sender dbus.Sender) ([]named, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	unit, err := m.unitOf(ctx, string(sender))
	if err != nil {
		return nil, answer(err)
	}
	fetch, err := m.door.Registry.Retrieve(ctx, unit, names)
	if err != nil {
		return nil, answer(err)
	}
	defer fetch.Close()
	fds := make([]named, len(fetch.Files))
	for i, f := range fetch.Files {
		fds[i] = named{fetch.Names[i], dbus.UnixFD(f.Fd())}
	}
	if !m.reply(msg, sender, fds) {
		return nil, nil
	}
	// They are on their way, and the vault keeps them in any case. What belongs into the
	// unit's fd store is fetched when it is there.
	names = slices.DeleteFunc(fetch.Names, entryname.Adopted)
	if err := m.door.Registry.Fetched(ctx, unit, names); err != nil {
		m.door.Log.Warn("could not note what a unit fetched", "unit", unit, "error", err)
	}
	return nil, nil
}

// reply answers msg with what may hold descriptors, and returns when they are on
// their way; false says that they are not, and stay here.
func (m *methods) reply(msg dbus.Message, sender dbus.Sender, value any) bool {
	reply := &dbus.Message{
		Type: dbus.TypeMethodReply,
		Headers: map[dbus.HeaderField]dbus.Variant{
			dbus.FieldDestination: dbus.MakeVariant(string(sender)),
			dbus.FieldReplySerial: dbus.MakeVariant(msg.Serial()),
			dbus.FieldSignature:   dbus.MakeVariant(dbus.SignatureOf(value)),
		},
		Body: []any{value},
	}
	if call := m.conn.Send(reply, nil); call != nil && call.Err != nil {
		m.door.Log.Warn("could not send file descriptors; they stay here", "to", string(sender), "error", call.Err)
		return false
	}
	return true
}

// ownReply marks calls whose method sends the reply itself, so that the library
// doesn't send another. Errors are sent by the library all the same.
func ownReply(msg *dbus.Message) {
	member, _ := msg.Headers[dbus.FieldMember].Value().(string)
	if msg.Type == dbus.TypeMethodCall && slices.Contains([]string{"Retrieve", "Inhibit", "CreateSession", "RetrieveSession"}, member) {
		msg.Flags |= dbus.FlagNoReplyExpected
	}
}

// ListNames lists the names and states of the caller's unit.
func (m *methods) ListNames(sender dbus.Sender) ([]struct{ Name, State string }, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	unit, err := m.unitOf(ctx, string(sender))
	if err != nil {
		return nil, answer(err)
	}
	held, err := m.door.Registry.Own(ctx, unit)
	names := []struct{ Name, State string }{}
	for _, h := range held {
		names = append(names, struct{ Name, State string }{h.Name, h.State})
	}
	return names, answer(err)
}

// ListFileDescriptors lists everything held, to an admin.
func (m *methods) ListFileDescriptors(msg dbus.Message, sender dbus.Sender) ([]holdings.Held, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	if err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.List); err != nil {
		return nil, answer(err)
	}
	held, err := m.door.Registry.List(ctx)
	if held == nil {
		held = []holdings.Held{}
	}
	return held, answer(err)
}

// Discard gives up what a unit has here, to an admin.
func (m *methods) Discard(unit string, names []string, msg dbus.Message, sender dbus.Sender) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Discard)
	if err == nil {
		err = m.door.Registry.Discard(ctx, unit, names)
	}
	return answer(err)
}

// DiscardAll gives up all that there is, or with dry-run only says what that would be,
// to an admin.
func (m *methods) DiscardAll(given map[string]dbus.Variant, msg dbus.Message, sender dbus.Sender) ([]holdings.Stake, string, uint64, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	var dryRun bool
	err := busoptions.Decode(given, map[string]any{"dry-run": &dryRun})
	if err == nil {
		err = m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Discard)
	}
	s := holdings.Stakes{}
	switch {
	case err != nil:
	case dryRun:
		s, err = m.door.Registry.Stakes(ctx)
	default:
		s, err = m.door.Registry.DiscardAll(ctx)
	}
	if s.Units == nil {
		s.Units = []holdings.Stake{}
	}
	return s.Units, s.Unread, s.Stuck, answer(err)
}

// Report returns what became of everything in an update, in JSON, to an admin.
func (m *methods) Report(generation uint64, msg dbus.Message, sender dbus.Sender) (string, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	if err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.List); err != nil {
		return "", answer(err)
	}
	report, err := m.door.Registry.Report(ctx, generation)
	return report, answer(err)
}

// Unload unloads it.
func (m *methods) Unload(msg dbus.Message, sender dbus.Sender) *dbus.Error {
	ctx, cancel := m.call()
	defer cancel()
	err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Load)
	if err == nil {
		err = m.door.Registry.Unload(ctx)
	}
	return answer(err)
}

// UnloadOwn unloads it if luod has loaded it.
func (m *methods) UnloadOwn(msg dbus.Message, sender dbus.Sender) (string, *dbus.Error) {
	ctx, cancel := m.call()
	defer cancel()
	if err := m.door.authorize(ctx, m.conn, msg, string(sender), polkit.Load); err != nil {
		return "", answer(err)
	}
	release, err := m.door.Registry.UnloadOwn(ctx)
	return release, answer(err)
}

// LiveUpdate performs the update and returns when the shutdown has begun.
func (m *methods) LiveUpdate(given map[string]dbus.Variant, msg dbus.Message, sender dbus.Sender) (uint64, *dbus.Error) {
	parsed, err := updateOptions(given)
	if err == nil {
		err = m.door.authorize(m.ctx, m.conn, msg, string(sender), polkit.Update)
	}
	if err == nil && parsed.IgnoreInhibitors {
		err = m.door.authorize(m.ctx, m.conn, msg, string(sender), polkit.Ignore)
	}
	if err != nil {
		return 0, answer(err)
	}
	generation, err := m.door.Registry.LiveUpdate(m.ctx, parsed)
	return generation, answer(err)
}
