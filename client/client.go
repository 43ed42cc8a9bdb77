package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// The names of luod on the system bus.
const (
	busName   = "org.luod.LiveUpdate1"
	busPath   = "/org/luod/LiveUpdate1"
	busPrefix = "org.luod.LiveUpdate1.Manager."
)

// perMessage is how many descriptors dbus-daemon lets a message carry by default
// (max_message_unix_fds of dbus-daemon(1)); it hangs up on a larger one.
const perMessage = 16

// MaxPerCall is how many descriptors one call of Preserve takes.
const MaxPerCall = 1024

// named is a descriptor with its name on the bus: (sh).
type named struct {
	Name string
	FD   dbus.UnixFD
}

// Client is a connection to luod, safe for concurrent use.
type Client struct {
	conn *dbus.Conn
}

// Error is luod's answer to a request that it refused; nothing changed then.
type Error struct {
	// Name is the D-Bus error name, such as
	// org.luod.LiveUpdate1.Error.UnsupportedFile.
	Name string
	Text string
}

func (e *Error) Error() string { return e.Text }

// NotSupported says whether err is luod's answer on a kernel without live
// update: a service can go on without it.
func NotSupported(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Name == "org.luod.LiveUpdate1.Error.NotSupported"
}

// Connect connects to the system bus. luod needs not run yet: the bus starts it
// with the first call.
func Connect(ctx context.Context) (*Client, error) {
	conn, err := dbus.ConnectSystemBus(dbus.WithContext(context.WithoutCancel(ctx)))
	if err != nil {
		return nil, fmt.Errorf("connect to the system bus: %w", err)
	}
	return &Client{conn: conn}, nil
}

// Close ends the connection and nothing else.
func (c *Client) Close() error { return c.conn.Close() }

func (c *Client) call(ctx context.Context, method string, args ...any) *dbus.Call {
	again := func() *dbus.Call { return c.send(ctx, method, args...) }
	call := patiently(ctx, <-again().Done, again)
	call.Err = explain(method, call.Err)
	return call
}

// send sends a call and doesn't wait for the answer.
func (c *Client) send(ctx context.Context, method string, args ...any) *dbus.Call {
	return c.conn.Object(busName, busPath).GoWithContext(ctx, busPrefix+method, 0, make(chan *dbus.Call, 1), args...)
}

// explain says which method failed, and makes an *Error of what the other side says.
func explain(method string, err error) error {
	var remote dbus.Error
	if errors.As(err, &remote) {
		return fmt.Errorf("%s: %w", method, &Error{Name: remote.Name, Text: remote.Error()})
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// Preserve hands files to luod under names, all or none; luod gets duplicates
// and the caller keeps its own. Names are 1 to 255 bytes of printable ASCII
// without a colon, and unique in the unit. Handing over is cheap and changes
// nothing for the files: they are preserved when an update comes. The error
// wraps an *Error.
func (c *Client) Preserve(ctx context.Context, names []string, files []*os.File) error {
	if len(names) != len(files) {
		return fmt.Errorf("preserve: %d names were given for %d files", len(names), len(files))
	}
	if len(names) > MaxPerCall {
		return fmt.Errorf("preserve: %d files in one call are too many: at most %d are taken", len(names), MaxPerCall)
	}
	defer runtime.KeepAlive(files)
	part := func(i int) ([]string, []*os.File) {
		first, end := i*perMessage, min((i+1)*perMessage, len(names))
		return names[first:end], files[first:end]
	}
	send := func(i int) *dbus.Call {
		names, files := part(i)
		fds := make([]named, len(files))
		for j, f := range files {
			fds[j] = named{names[j], dbus.UnixFD(f.Fd())}
		}
		return c.send(ctx, "Preserve", fds, map[string]dbus.Variant{})
	}
	var taken, unknown [][]string
	err := pipeline(max(1, messages(len(names))), send, func(i int, call *dbus.Call) error {
		call = patiently(ctx, call, func() *dbus.Call { return send(i) })
		err := explain("Preserve", call.Err)
		var refused *Error
		switch part, _ := part(i); {
		case err == nil:
			taken = append(taken, part)
		case !errors.As(err, &refused):
			unknown = append(unknown, part)
		}
		return err
	})
	if err == nil {
		return nil
	}
	// The caller was promised all or none.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBack)
	defer cancel()
	for _, names := range unknown {
		_ = c.Release(ctx, names)
	}
	if len(taken) > 0 {
		err = errors.Join(err, c.Release(ctx, slices.Concat(taken...)))
	}
	return err
}

// takeBack bounds how long a failed Preserve waits for what it takes back.
const takeBack = 30 * time.Second

// messages is how many messages n descriptors take.
func messages(n int) int { return (n + perMessage - 1) / perMessage }

// Release takes files back from luod, by their names. It is an error if one is
// not there, and then nothing changes.
func (c *Client) Release(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	return c.call(ctx, "Release", names).Err
}

// ReleaseAll takes everything of this unit back.
func (c *Client) ReleaseAll(ctx context.Context) error {
	return c.call(ctx, "Release", []string{}).Err
}

// Retrieve returns everything that luod holds for this unit by its name, also
// what was handed over since the last update; nothing on a unit's very first
// start. The caller owns the files, which have O_CLOEXEC set, and luod keeps
// its own. While luod can't tell yet what came through an update, Retrieve waits until
// ctx ends, as everything here does; if it can't tell in this boot the error wraps an
// *Error (Degraded), and a service that begins anew then gives up what it had.
func (c *Client) Retrieve(ctx context.Context) (map[string]*os.File, error) {
	var list []struct{ Name, State string }
	if err := c.call(ctx, "ListNames").Store(&list); err != nil {
		return nil, err
	}
	files := map[string]*os.File{}
	fail := func(err error) (map[string]*os.File, error) {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	send := func(i int) *dbus.Call {
		var want []string
		for _, l := range list[i*perMessage : min((i+1)*perMessage, len(list))] {
			want = append(want, l.Name)
		}
		return c.send(ctx, "Retrieve", want)
	}
	err := pipeline(messages(len(list)), send, func(i int, call *dbus.Call) error {
		call = patiently(ctx, call, func() *dbus.Call { return send(i) })
		if call.Err != nil {
			return explain("Retrieve", call.Err)
		}
		var fds []named
		if err := call.Store(&fds); err != nil {
			return explain("Retrieve", err)
		}
		for _, n := range fds {
			unix.CloseOnExec(int(n.FD))
			if old := files[n.Name]; old != nil {
				old.Close()
			}
			files[n.Name] = os.NewFile(uintptr(n.FD), n.Name)
		}
		return nil
	})
	if err != nil {
		return fail(err)
	}
	return files, nil
}
