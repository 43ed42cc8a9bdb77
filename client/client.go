package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

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
	call := c.conn.Object(busName, busPath).CallWithContext(ctx, busPrefix+method, 0, args...)
	var remote dbus.Error
	if errors.As(call.Err, &remote) {
		call.Err = fmt.Errorf("%s: %w", method, &Error{Name: remote.Name, Text: remote.Error()})
	} else if call.Err != nil {
		call.Err = fmt.Errorf("%s: %w", method, call.Err)
	}
	return call
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
	for done := 0; done < len(names) || done == 0; done += perMessage {
		end := min(done+perMessage, len(names))
		fds := make([]named, 0, perMessage)
		for i, f := range files[done:end] {
			fds = append(fds, named{names[done+i], dbus.UnixFD(f.Fd())})
		}
		if err := c.call(ctx, "Preserve", fds, map[string]dbus.Variant{}).Err; err != nil {
			if done > 0 {
				// The caller was promised all or none.
				err = errors.Join(err, c.Release(context.WithoutCancel(ctx), names[:done]))
			}
			return err
		}
	}
	return nil
}

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
// its own.
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
	for len(list) > 0 {
		n := min(len(list), perMessage)
		var want []string
		for _, l := range list[:n] {
			want = append(want, l.Name)
		}
		list = list[n:]
		var fds []named
		if err := c.call(ctx, "Retrieve", want).Store(&fds); err != nil {
			return fail(err)
		}
		for _, n := range fds {
			unix.CloseOnExec(int(n.FD))
			if old := files[n.Name]; old != nil {
				old.Close()
			}
			files[n.Name] = os.NewFile(uintptr(n.FD), n.Name)
		}
	}
	return files, nil
}
