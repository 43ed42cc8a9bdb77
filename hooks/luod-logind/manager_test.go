package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/logind"
)

// bus runs a dbus-daemon and returns its address.
func bus(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("dbus-daemon"); err != nil {
		t.Skip("dbus-daemon is not installed; .ci/run installs it")
	}
	path := t.TempDir() + "/bus"
	config := t.TempDir() + "/config"
	if err := os.WriteFile(config, fmt.Appendf(nil, `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path=%s</listen><policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>`, path), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("dbus-daemon", "--config-file="+config, "--nofork", "--nopidfile", "--nosyslog")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 1000 {
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return "unix:path=" + path
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("dbus-daemon does not listen")
	return ""
}

// fake is a logind. What it answers to RebootWithFlags is refuse, unless it leaves the bus.
type fake struct {
	mu     sync.Mutex
	conn   *dbus.Conn
	leaves bool
	refuse *dbus.Error
	flags  uint64
	locks  []logind.Lock
	// left is how often it still says that it prepares.
	left int
}

func (f *fake) ListInhibitors() ([]logind.Lock, *dbus.Error) { return f.locks, nil }

func (f *fake) RebootWithFlags(flags uint64) *dbus.Error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.flags = flags
	if f.leaves {
		f.conn.Close()
	}
	return f.refuse
}

// Get is of org.freedesktop.DBus.Properties.
func (f *fake) Get(iface, name string) (dbus.Variant, *dbus.Error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != nil {
		return dbus.Variant{}, f.refuse
	}
	f.left--
	return dbus.MakeVariant(f.left >= 0), nil
}

// asked is how it was asked to reboot, and how often it still says that it prepares.
func (f *fake) asked() (flags uint64, left int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.flags, f.left
}

func (f *fake) serve(t *testing.T, address string) {
	t.Helper()
	conn, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	f.mu.Lock()
	f.conn = conn
	f.mu.Unlock()
	err = errors.Join(conn.Export(f, dbus.ObjectPath(login1.Path), login1.Interface), conn.Export(f, dbus.ObjectPath(login1.Path), properties.Interface))
	if _, taken := conn.RequestName(login1.Destination, 0); err != nil || taken != nil {
		t.Fatal(err, taken)
	}
}

func ask(t *testing.T, address, verb string) logind.Answer {
	t.Helper()
	m := &manager{interval: time.Millisecond, dial: func(ctx context.Context) (*busconn.Conn, error) {
		return busconn.Dial(ctx, address, &foreign.Bin{Log: slog.Default()}, nil)
	}}
	answer, is := m.answer(t.Context(), verb)
	if !is {
		t.Errorf("%s is no verb", verb)
	}
	return answer
}

func TestWithoutALogindNothingIsBegun(t *testing.T) {
	for what, address := range map[string]string{"no bus": "unix:path=" + t.TempDir() + "/none", "no logind": bus(t)} {
		for _, verb := range []string{logind.Inhibitors, logind.Reboot} {
			if a := ask(t, address, verb); a.NoLogind == "" || a.Refused != "" || a.Unclear != "" {
				t.Errorf("%s, %s: %+v", what, verb, a)
			}
		}
		if a := ask(t, address, logind.Preparing); a.Preparing {
			t.Errorf("%s: %+v", what, a)
		}
		ask(t, address, logind.Watch)
	}
}

func TestLocksAgainstAShutdownAreListed(t *testing.T) {
	address := bus(t)
	against := logind.Lock{What: "sleep:shutdown", Who: "a", Why: "b", Mode: "block", UID: 7, PID: 8}
	(&fake{locks: []logind.Lock{{What: "sleep"}, against, {What: "shutdowns"}}}).serve(t, address)
	if a := ask(t, address, logind.Inhibitors); !reflect.DeepEqual(a, logind.Answer{Inhibitors: []logind.Lock{against}}) {
		t.Errorf("%+v", a)
	}
}

func TestOnlyWhatLogindRefusesIsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		fake *fake
		want string
	}{
		"it begins":  {&fake{}, "{[] false   }"},
		"it refuses": {&fake{refuse: dbus.NewError("org.freedesktop.login1.OperationInProgress", []any{"no"})}, "{[] false  no }"},
		"it leaves":  {&fake{leaves: true}, "unclear"},
	} {
		t.Run(what, func(t *testing.T) {
			address := bus(t)
			c.fake.serve(t, address)
			a := ask(t, address, logind.Reboot)
			if got := fmt.Sprint(a); got != c.want && (c.want != "unclear" || a.Unclear == "" || a.Refused+a.NoLogind != "") {
				t.Errorf("%+v", a)
			}
			if flags, _ := c.fake.asked(); flags != viaKexec {
				t.Errorf("it was asked with %d", flags)
			}
		})
	}
}

func TestALogindThatPreparesIsWatchedUntilItGivesUp(t *testing.T) {
	address := bus(t)
	f := &fake{left: 30}
	f.serve(t, address)
	ask(t, address, logind.Watch)
	if _, left := f.asked(); left > -givenUpAfter {
		t.Errorf("it still prepared, or had said no %d times", -left)
	}
	f.mu.Lock()
	f.left = 1
	f.mu.Unlock()
	if a := ask(t, address, logind.Preparing); !a.Preparing {
		t.Errorf("%+v", a)
	}
	if a := ask(t, address, logind.Preparing); a.Preparing {
		t.Errorf("%+v", a)
	}
}

// Whoever sends it something does not get it read.
func TestWhatOthersSendIsNotRead(t *testing.T) {
	address := bus(t)
	f := &fake{left: 40}
	f.serve(t, address)
	attacker, err := dbus.Connect(address)
	if err != nil {
		t.Fatal(err)
	}
	defer attacker.Close()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		large := strings.Repeat("x", 4<<20)
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			for to := range 12 {
				m := &dbus.Message{Type: dbus.TypeSignal, Body: []any{map[string]dbus.Signature{"a": dbus.SignatureOf("")}, large}, Headers: map[dbus.HeaderField]dbus.Variant{
					dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/")), dbus.FieldInterface: dbus.MakeVariant("a.b"), dbus.FieldMember: dbus.MakeVariant("C"),
					dbus.FieldDestination: dbus.MakeVariant(fmt.Sprintf(":1.%d", to)), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(map[string]dbus.Signature{}, "")),
				}}
				attacker.Send(m, nil)
			}
		}
	}()
	ask(t, address, logind.Watch)
	if _, left := f.asked(); left > -givenUpAfter {
		t.Errorf("it was not watched to the end: %d", left)
	}
}
