package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/printable"
)

// daemon is luod on the system bus.
type daemon struct {
	conn  *dbus.Conn
	flags dbus.Flags
}

const managerInterface = "org.luod.LiveUpdate1.Manager"

func connect(o *options) (*daemon, error) {
	conn, err := reach()
	if err != nil {
		return nil, err
	}
	d := &daemon{conn: conn}
	if !o.noAskPassword {
		d.flags = dbus.FlagAllowInteractiveAuthorization
	}
	return d, nil
}

// ask connects, has f ask, and hangs up; f has at most timeout.
func ask(cmd *cobra.Command, o *options, timeout time.Duration, f func(context.Context, *daemon) error) error {
	d, err := connect(o)
	if err != nil {
		return err
	}
	defer d.close()
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	return f(ctx, d)
}

func (d *daemon) close() { d.conn.Close() }

func (d *daemon) call(ctx context.Context, method string, args ...any) *dbus.Call {
	call := d.conn.Object("org.luod.LiveUpdate1", "/org/luod/LiveUpdate1").
		CallWithContext(ctx, managerInterface+"."+method, d.flags, args...)
	call.Err = plain(call.Err)
	if method != "Report" { // that is JSON, see showReport
		call.Body = forTerminals(call.Body)
	}
	return call
}

// plain makes the bus's errors readable.
func plain(err error) error {
	var remote dbus.Error
	if !errors.As(err, &remote) {
		return err
	}
	switch remote.Name {
	case "org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.systemd1.NoSuchUnit":
		return fmt.Errorf("luod is not running: see 'systemctl status luod.service' (%s)", printable.Text(remote.Error()))
	}
	return &refusal{strings.TrimPrefix(remote.Name, errorname.Prefix), printable.Text(remote.Error())}
}

// refusal is luod's answer that something can't be done. name is the last part of
// the D-Bus error's.
type refusal struct{ name, text string }

func (r *refusal) Error() string { return r.text }

// refusedByLuod says whether err is luod's own answer, and not the bus's for it.
func refusedByLuod(err error) bool {
	var r *refusal
	return errors.As(err, &r) && !strings.Contains(r.name, ".")
}

// refused says whether err is luod's refusal of this name.
func refused(err error, name string) bool {
	var r *refusal
	return errors.As(err, &r) && r.name == name
}

func (d *daemon) properties(ctx context.Context) (map[string]dbus.Variant, error) {
	props := map[string]dbus.Variant{}
	call := d.conn.Object("org.luod.LiveUpdate1", "/org/luod/LiveUpdate1").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.GetAll", 0, managerInterface)
	call.Err = plain(call.Err)
	call.Body = forTerminals(call.Body)
	return props, call.Store(&props)
}

// forTerminals escapes what a terminal would obey: much of what luod tells was called so
// by a service, or by whoever owns a file.
func forTerminals(body []any) []any {
	return printable.All(body, func(v any) (any, bool) {
		variant, is := v.(dbus.Variant)
		if !is || variant.Value() == nil {
			return nil, false
		}
		return dbus.MakeVariantWithSignature(forTerminals([]any{variant.Value()})[0], variant.Signature()), true
	})
}
