package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
)

// Somebody without a deadline is not kept for ever, and one with a deadline until then.
func TestALuodThatStaysAwayIsNotWaitedForForever(t *testing.T) {
	names, files := memfds(t, 1)
	for _, one := range []struct {
		name            string
		seen            bool
		wait, patience  time.Duration
		least, most     time.Duration
		unknown, ending bool
	}{
		{"no deadline", true, 0, 600 * time.Millisecond, 600 * time.Millisecond, 5 * time.Second, true, false},
		{"a deadline", true, 600 * time.Millisecond, time.Hour, 600 * time.Millisecond, 5 * time.Second, true, true},
		{"a later deadline", true, 1500 * time.Millisecond, 10 * time.Millisecond, 1500 * time.Millisecond, 6 * time.Second, true, true},
		{"never there", false, 0, time.Hour, absent, absent + 5*time.Second, false, false},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			c, m := connectQuietly(t)
			c.patience = one.patience
			m.with(func() { m.trouble["Register"] = []trouble{{stays: true}} })
			ctx := context.Background()
			if one.wait > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, one.wait)
				defer cancel()
			}
			// It takes the call, and never comes back.
			go func() {
				if one.seen {
					m.wait(t, func() bool { return m.asked["Register"] == 1 })
				}
				m.present().Close()
			}()
			if !one.seen {
				<-m.present().Context().Done()
			}
			began := time.Now()
			_, err := c.Register(ctx, Participation{})
			took := time.Since(began)
			if err == nil || errors.Is(err, ErrUnknown) != one.unknown || errors.Is(err, context.DeadlineExceeded) != one.ending {
				t.Errorf("got %v", err)
			}
			if took < one.least || took > one.most {
				t.Errorf("it took %s", took)
			}
			var refused *Error
			if one.seen == false && (!errors.As(err, &refused) || refused.Name != notThere) {
				t.Errorf("got %v", err)
			}
		})
	}
	// What is handed over without an answer is not known either.
	t.Run("Preserve", func(t *testing.T) {
		t.Parallel()
		c, m := connectQuietly(t)
		m.with(func() { m.trouble["Preserve"] = []trouble{{stays: true}} })
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if err := c.Preserve(ctx, names, files); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatCantHelpIsNotRepeated(t *testing.T) {
	c, m := connect(t)
	for _, name := range []string{
		"org.freedesktop.systemd1.UnitMasked", "org.freedesktop.systemd1.NoSuchUnit",
		"org.freedesktop.DBus.Error.Spawn.ServiceNotFound", "org.freedesktop.DBus.Error.AccessDenied",
		"org.freedesktop.DBus.Error.Failed", errorname.Prefix + "Degraded", errorname.Prefix + "NotSupported",
	} {
		m.with(func() { m.trouble["Register"], m.asked["Register"] = []trouble{{name: name}}, 0 })
		_, err := c.Register(within(t), Participation{})
		var refused *Error
		if !errors.As(err, &refused) || refused.Name != name || errors.Is(err, ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
		m.with(func() {
			if m.asked["Register"] != 1 {
				t.Errorf("%s: called %d times", name, m.asked["Register"])
			}
		})
	}
	if err := c.Preserve(within(t), []string{"a\x00b"}, []*os.File{os.Stdin}); err == nil || errors.Is(err, ErrUnknown) {
		t.Errorf("a name that no message can hold: %v", err)
	}
	c.Close()
	began := time.Now()
	if _, err := c.Retrieve(context.Background()); !errors.Is(err, os.ErrClosed) || errors.Is(err, ErrUnknown) || time.Since(began) > 5*time.Second {
		t.Errorf("a closed client: %v after %s", err, time.Since(began))
	}
}

func TestVerdicts(t *testing.T) {
	for _, one := range []struct {
		err  error
		want verdict
	}{
		{nil, done},
		{unsent{context.Canceled}, away},
		{context.Canceled, unknown},
		{dbus.ErrClosed, unknown},
		{fmt.Errorf("write: %w", unix.EPIPE), unknown},
		{fmt.Errorf("write: %w", unix.EBADF), refused},
		{errClosed, refused},
		{*dbus.NewError("org.freedesktop.DBus.Error.NoReply", nil), unknown},
		{*dbus.NewError("org.freedesktop.DBus.Error.Disconnected", nil), unknown},
		{*dbus.NewError("org.freedesktop.DBus.Error.NameHasNoOwner", nil), away},
		{*dbus.NewError("org.freedesktop.DBus.Error.ServiceUnknown", nil), away},
		{*dbus.NewError("org.freedesktop.systemd1.TransactionIsDestructive", nil), away},
		{*dbus.NewError(errorname.Prefix+"NameInUse", nil), refused},
	} {
		if got := judge(one.err); got != one.want {
			t.Errorf("%v: %d, not %d", one.err, got, one.want)
		}
	}
}
