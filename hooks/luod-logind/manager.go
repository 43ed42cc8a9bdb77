package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/logind"
)

var (
	login1     = busconn.Object{Destination: "org.freedesktop.login1", Path: "/org/freedesktop/login1", Interface: "org.freedesktop.login1.Manager"}
	properties = busconn.Object{Destination: login1.Destination, Path: login1.Path, Interface: "org.freedesktop.DBus.Properties"}
)

const (
	// viaKexec is SD_LOGIND_KEXEC_REBOOT (org.freedesktop.login1(5)).
	viaKexec = uint64(1) << 1
	// pollInterval is how often logind is asked whether it has begun, and
	// givenUpAfter how often in a row it must say that it does not even prepare.
	pollInterval = 100 * time.Millisecond
	givenUpAfter = 20
	// patience bounds a question that is none to do something.
	patience = 5 * time.Second
)

// manager is logind's.
type manager struct {
	dial func(ctx context.Context) (*busconn.Conn, error)
	// interval is pollInterval unless a test sets it.
	interval time.Duration
}

// answer does what verb says; false says that there is no such verb.
func (m *manager) answer(ctx context.Context, verb string) (answer logind.Answer, is bool) {
	if !slices.Contains([]string{logind.Inhibitors, logind.Reboot, logind.Preparing, logind.Watch}, verb) {
		return answer, false
	}
	conn, err := m.dial(ctx)
	if err != nil { // without a bus there is no logind either
		return logind.Answer{NoLogind: err.Error()}, true
	}
	defer conn.Close()
	switch verb {
	case logind.Inhibitors:
		return inhibitors(ctx, conn), true
	case logind.Reboot:
		return reboot(ctx, conn), true
	case logind.Preparing:
		return logind.Answer{Preparing: preparing(ctx, conn)}, true
	}
	m.watch(ctx, conn)
	return answer, true
}

// inhibitors returns logind's locks against a shutdown, in its order. An activatable
// logind is started: it may just be restarting, and its locks outlive that.
func inhibitors(ctx context.Context, conn *busconn.Conn) logind.Answer {
	ctx, cancel := context.WithTimeout(ctx, 6*patience)
	defer cancel()
	var all []logind.Lock
	reply, err := conn.Call(ctx, login1, "ListInhibitors")
	if err == nil {
		err = reply.Store(&all)
	}
	switch {
	case none(err):
		return logind.Answer{NoLogind: err.Error()}
	case err != nil:
		return logind.Answer{Unclear: err.Error()}
	}
	var against []logind.Lock
	for _, l := range all {
		if slices.Contains(strings.Split(l.What, ":"), "shutdown") {
			against = append(against, l)
		}
	}
	return logind.Answer{Inhibitors: against}
}

// reboot has logind shut down, which first tells those who delay a shutdown.
func reboot(ctx context.Context, conn *busconn.Conn) logind.Answer {
	_, err := conn.Call(ctx, login1, "RebootWithFlags", viaKexec)
	switch {
	case err == nil:
		return logind.Answer{}
	case none(err):
		return logind.Answer{NoLogind: err.Error()}
	case refused(err):
		return logind.Answer{Refused: err.Error()}
	}
	return logind.Answer{Unclear: err.Error()}
}

// refused says whether err is logind's answer, and not the bus's for what it did not hear
// of: that logind left the bus before it answered, or was too slow, says nothing of what it
// has done (D-Bus specification, standard errors).
func refused(err error) bool {
	var e dbus.Error
	return errors.As(err, &e) && !slices.Contains([]string{
		"org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Timeout",
		"org.freedesktop.DBus.Error.TimedOut", "org.freedesktop.DBus.Error.Disconnected",
	}, e.Name)
}

// none says whether err means that there is no logind: the first two are the bus's
// own (D-Bus specification, standard errors), the others what PID 1 answers to the
// activation of a unit that is missing or masked (systemd: bus-common-errors.h).
func none(err error) bool {
	var e dbus.Error
	return errors.As(err, &e) && slices.Contains([]string{
		"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner",
		"org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked",
	}, e.Name)
}

// preparing says whether logind is about to shut down; one that can't be asked isn't.
func preparing(ctx context.Context, conn *busconn.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var is dbus.Variant
	reply, err := conn.CallWith(ctx, properties, "Get", dbus.FlagNoAutoStart, login1.Interface, "PreparingForShutdown")
	if err != nil || reply.Store(&is) != nil {
		return false
	}
	yes, _ := is.Value().(bool)
	return yes
}

// watch returns when logind has said often enough that it isn't about to shut down.
func (m *manager) watch(ctx context.Context, conn *busconn.Conn) {
	interval := m.interval
	if interval == 0 {
		interval = pollInterval
	}
	for no := 0; no < givenUpAfter; no++ {
		if preparing(ctx, conn) {
			no = -1
		}
		time.Sleep(interval)
	}
}
