package pid1

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// Program is one that PID 1 runs for luod, which has few privileges, as a unit of
// its own.
type Program struct {
	// Unit is the transient unit's name.
	Unit        string
	Description string
	Argv        []string
	Environment []string
	// Timeout is when PID 1 kills it.
	Timeout time.Duration
	// AnyTime says that it also runs while the machine still boots, or shuts down.
	AnyTime bool
	// ReadsOnly says that it only reads files, whoever owns them, and talks to luod and
	// to PID 1: it gets the privileges for that, and no more.
	ReadsOnly bool
}

// confinement is what a program that only reads files is run with (systemd.exec(5)).
// It can't list the extended attributes of the trusted class without CAP_SYS_ADMIN
// (xattr(7)).
func confinement() []dbus.Property {
	capabilities := uint64(1)<<unix.CAP_DAC_READ_SEARCH | uint64(1)<<unix.CAP_SYS_ADMIN
	return []dbus.Property{
		property("CapabilityBoundingSet", capabilities),
		property("NoNewPrivileges", true),
		property("ProtectSystem", "strict"),
		property("ProtectHome", "read-only"),
		property("PrivateDevices", true),
		property("ProtectKernelModules", true),
		property("RestrictAddressFamilies", list{true, []string{"AF_UNIX"}}),
		property("SystemCallFilter", list{false, []string{"@mount", "@module", "@reboot", "@swap", "@raw-io", "@chown"}}),
		property("SystemCallErrorNumber", int32(unix.EPERM)),
	}
}

// list is how PID 1 takes what is allowed, or denied.
type list struct {
	Allowed bool
	Names   []string
}

// Run has PID 1 run p and waits until it is done, or stops it when ctx ends. The
// error is what the program said in STATUS= (sd_notify(3)) when it failed.
func (Units) Run(ctx context.Context, p Program) error {
	return connected(ctx, func(conn *dbus.Conn) error {
		_ = conn.ResetFailedUnitContext(ctx, p.Unit) // of an earlier one
		results := make(chan string, 1)
		properties := []dbus.Property{
			dbus.PropDescription(p.Description),
			dbus.PropExecStart(p.Argv, false),
			dbus.PropType("oneshot"),
			property("NotifyAccess", "main"),
			property("Environment", p.Environment),
			property("TimeoutStartUSec", uint64(p.Timeout.Microseconds())),
			property("DefaultDependencies", !p.AnyTime),
		}
		if p.ReadsOnly {
			properties = append(properties, confinement()...)
		}
		_, err := conn.StartTransientUnitContext(ctx, p.Unit, "replace", properties, results)
		if err != nil {
			return fmt.Errorf("start %s: %w", p.Unit, err)
		}
		result, err := await(ctx, conn, results)
		if err != nil {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, _ = conn.StopUnitContext(stop, p.Unit, "replace", nil)
			return fmt.Errorf("wait for %s: %w", p.Unit, err)
		}
		return outcome(ctx, conn, p.Unit, result)
	})
}

func property(name string, value any) dbus.Property {
	return dbus.Property{Name: name, Value: godbus.MakeVariant(value)}
}

// ErrHungUp says that PID 1 went away, as it does when it is executed anew and when it
// ends: what was asked of it goes on all the same.
var ErrHungUp = errors.New("PID 1 hung up")

// await waits for a job's result.
func await(ctx context.Context, conn *dbus.Conn, results <-chan string) (string, error) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case result := <-results:
			return result, nil
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-tick.C:
			if !conn.Connected() {
				return "", ErrHungUp
			}
		}
	}
}

// outcome makes an error of a job's result other than "done", with what the unit
// said, and has PID 1 forget that the unit failed.
func outcome(ctx context.Context, conn *dbus.Conn, unit, result string) error {
	if result == "done" {
		return nil
	}
	why := "its job ended as " + result
	if p, err := conn.GetServicePropertyContext(ctx, unit, "StatusText"); err == nil {
		if text, _ := p.Value.Value().(string); text != "" {
			why = text
		}
	}
	_ = conn.ResetFailedUnitContext(ctx, unit)
	return errors.New(strings.TrimSpace(why))
}
