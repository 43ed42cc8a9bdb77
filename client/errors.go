package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
)

// Error is luod's answer to a request that it refused, or the bus's; nothing changed
// then, unless the error is ErrUnknown too.
type Error struct {
	// Name is the D-Bus error name, such as
	// org.luod.LiveUpdate1.Error.UnsupportedFile.
	Name string
	Text string
}

func (e *Error) Error() string { return e.Text }

// ErrUnknown is wrapped by the error of a call that nobody answered, and that could
// not be repeated or asked about before its time was up.
var ErrUnknown = errors.New("it is not known whether luod has done it")

// errClosed is what calls of a closed client fail with.
var errClosed = fmt.Errorf("the client is closed: %w", os.ErrClosed)

// NotSupported says whether err is luod's answer on a kernel without live
// update: a service can go on without it.
func NotSupported(err error) bool { return refusedAs(err, errorname.NotSupported) }

// refusedAs says whether err is luod's of that name.
func refusedAs(err error, name string) bool {
	var e *Error
	var remote dbus.Error
	switch {
	case errors.As(err, &e):
		return e.Name == errorname.Prefix+name
	case errors.As(err, &remote):
		return remote.Name == errorname.Prefix+name
	}
	return false
}

// changesNothing are the methods for which it doesn't matter whether they were done.
var changesNothing = map[string]bool{"ListNames": true, "Retrieve": true, "RetrieveSession": true}

// explain says which method failed, and makes an *Error of what the other side says.
// doubt is that of repeat.
func explain(method string, err error, doubt bool) error {
	if err == nil {
		return nil
	}
	var remote dbus.Error
	if errors.As(err, &remote) && judge(err) != unknown {
		said := &Error{Name: remote.Name, Text: remote.Error()}
		if ended := ending(err); ended != nil {
			err = fmt.Errorf("%w (%w)", said, ended)
		} else {
			err = said
		}
	}
	if doubt && !changesNothing[method] && !errors.Is(err, ErrUnknown) {
		return fmt.Errorf("%s: %w; %w", method, err, ErrUnknown)
	}
	return fmt.Errorf("%s: %w", method, err)
}

// ending is the error of the context that has ended, if err tells of one.
func ending(err error) error {
	for _, e := range []error{context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}

// verdict is what is known of a call.
type verdict int

const (
	// done: it was carried out.
	done verdict = iota
	// refused for good, and nothing has changed.
	refused
	// full: it did not arrive, because the other side's queue is full.
	full
	// early: luod doesn't know yet what it has for the caller.
	early
	// away: it did not arrive, because nobody is there.
	away
	// unknown: it may have arrived, and nobody answers.
	unknown
)

// unsent is the error of a call that was not sent.
type unsent struct{ error }

func (u unsent) Unwrap() error { return u.error }

// judge tells what an error says of the call that failed with it.
func judge(err error) verdict {
	var never unsent
	var remote dbus.Error
	switch {
	case err == nil:
		return done
	case errors.Is(err, errClosed):
		return refused
	case errors.As(err, &never):
		return away
	case errors.As(err, &remote):
		return judgeName(remote.Name)
	case ending(err) != nil, lost(err):
		return unknown
	}
	return refused // by this side: it can't be put into a message
}

// lost says whether err is that of a connection that has ended.
func lost(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, io.ErrShortWrite, dbus.ErrClosed, net.ErrClosed, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOTCONN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// What PID 1 and dbus-daemon say when starting luod can't help
// (systemd: src/libsystemd/sd-bus/bus-common-errors.h; dbus: dbus/dbus-protocol.h).
var hopeless = map[string]bool{
	"org.freedesktop.systemd1.NoSuchUnit":                 true,
	"org.freedesktop.systemd1.UnitMasked":                 true,
	"org.freedesktop.systemd1.LoadFailed":                 true,
	"org.freedesktop.systemd1.BadUnitSetting":             true,
	"org.freedesktop.DBus.Error.Spawn.ServiceNotFound":    true,
	"org.freedesktop.DBus.Error.Spawn.ConfigInvalid":      true,
	"org.freedesktop.DBus.Error.Spawn.FileInvalid":        true,
	"org.freedesktop.DBus.Error.Spawn.PermissionsInvalid": true,
}

// notThere is what a bus says of a name that nobody owns and that it can't have
// anybody started for.
const notThere = "org.freedesktop.DBus.Error.ServiceUnknown"

func judgeName(name string) verdict {
	switch name {
	case errorname.Prefix + errorname.NotRestored:
		return early
	case "org.freedesktop.DBus.Error.LimitsExceeded":
		return full
	case "org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected", errorname.Prefix + errorname.Stopping:
		return unknown
	case notThere, "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.TimedOut": // of luod's start
		return away
	}
	if !hopeless[name] && (strings.HasPrefix(name, "org.freedesktop.systemd1.") || strings.HasPrefix(name, "org.freedesktop.DBus.Error.Spawn.")) {
		return away
	}
	return refused
}
