package client

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
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

// Patience is how long a call whose context has no deadline is repeated while luod
// or the bus is away.
const Patience = 30 * time.Second

// named is a descriptor with its name on the bus: (sh).
type named struct {
	Name string
	FD   dbus.UnixFD
}

// Client is a connection to luod, safe for concurrent use. It goes on when luod or
// the bus is restarted: what was called meanwhile is repeated, where that can do no
// harm, until its context ends or, if that has no deadline, for Patience.
type Client struct {
	// ctx ends with Close.
	ctx    context.Context
	cancel context.CancelFunc
	// connect makes a connection to the bus.
	connect func(...dbus.ConnOption) (*dbus.Conn, error)
	// patience is Patience but in tests.
	patience time.Duration
	// dialing is held by whoever connects anew.
	dialing chan struct{}
	// seen says that luod was there once.
	seen atomic.Bool
	// followers are the goroutines of Register.
	followers sync.WaitGroup

	mu     sync.Mutex
	conn   *dbus.Conn
	closed bool
	// options are those of the last Register, nil after Unregister.
	options map[string]dbus.Variant
	// asked is the update that this unit was asked to prepare for, 0 if it was taken
	// back.
	asked uint64
}

// Connect connects to the system bus. luod needs not run yet: the bus starts it
// with the first call. A bus that hangs up meanwhile, as one that is restarted does, is
// tried again.
func Connect(ctx context.Context) (*Client, error) { return connectBy(ctx, dbus.ConnectSystemBus) }

func connectBy(ctx context.Context, connect func(...dbus.ConnOption) (*dbus.Conn, error)) (*Client, error) {
	c := &Client{connect: connect, patience: Patience, dialing: make(chan struct{}, 1)}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	for w := c.wayToWait(ctx); ; {
		conn, err := c.dial(ctx)
		if err == nil {
			c.conn = conn
			return c, nil
		}
		if !w.again(err) {
			c.cancel()
			return nil, err
		}
	}
}

// Close ends the connection and nothing else; calls that wait for an answer fail.
func (c *Client) Close() error {
	c.mu.Lock()
	c.closed = true
	conn := c.conn
	c.mu.Unlock()
	c.cancel()
	err := conn.Close()
	c.followers.Wait()
	return err
}

// carriedOut are luod's answers to a repeated call by which it says that the one
// before it, which nobody answered, was carried out.
var carriedOut = map[string]string{"ReleaseSession": "NoSuchSession", "Unregister": "NotRegistered"}

// call makes a call, which may be repeated, and waits for the answer.
func (c *Client) call(ctx context.Context, method string, args ...any) *dbus.Call {
	call, worst := c.repeat(ctx, nil, busPrefix+method, args...)
	if name, is := carriedOut[method]; is && worst == unknown && refusedAs(call.Err, name) {
		call.Err = nil
	}
	call.Err = explain(method, call.Err, worst == unknown)
	return call
}

// repeat makes a call and waits for the answer. It sends it once more, after longer and
// longer pauses, while that may help and still, if it isn't nil, says so. worst is the
// worst that happened to those that it sent: unknown if one may have been carried out
// without an answer.
func (c *Client) repeat(ctx context.Context, still func() bool, method string, args ...any) (answer *dbus.Call, worst verdict) {
	return c.repeatCall(ctx, still, c.send(ctx, method, args...), func() *dbus.Call { return c.resend(ctx, method, args...) })
}

// repeatCall is repeat for a call that was sent, and is sent once more by again.
func (c *Client) repeatCall(ctx context.Context, still func() bool, call *dbus.Call, again func() *dbus.Call) (answer *dbus.Call, worst verdict) {
	for w := c.wayToWait(ctx); ; call = again() {
		call = c.wait(ctx, call)
		worst = max(worst, judge(call.Err))
		if !w.again(call.Err) || still != nil && !still() {
			call.Err = w.over(call.Err)
			return call, worst
		}
	}
}

// Release takes files back from luod, by their names. It is an error if one is
// not there, and then nothing changes. When nobody answers, it is repeated until none
// is there.
func (c *Client) Release(ctx context.Context, names []string) error {
	if len(names) == 0 {
		return nil
	}
	call, worst := c.repeat(ctx, nil, busPrefix+"Release", names)
	// A luod that was killed in the middle may have released some of them.
	for worst == unknown && refusedAs(call.Err, "NoSuchName") {
		held, err := c.held(ctx)
		if err != nil {
			return explain("Release", err, true)
		}
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return held[name] == "" })
		if len(names) == 0 {
			return nil
		}
		call, _ = c.repeat(ctx, nil, busPrefix+"Release", names)
	}
	return explain("Release", call.Err, worst == unknown)
}

// ReleaseAll takes everything of this unit back.
func (c *Client) ReleaseAll(ctx context.Context) error {
	return c.call(ctx, "Release", []string{}).Err
}

// entry is a name and its state, as ListNames tells them.
type entry struct{ Name, State string }

// list asks luod what it has of this unit.
func (c *Client) list(ctx context.Context) ([]entry, error) {
	var list []entry
	err := c.call(ctx, "ListNames").Store(&list)
	return list, err
}

// held tells the state of each name that luod has of this unit.
func (c *Client) held(ctx context.Context) (map[string]string, error) {
	list, err := c.list(ctx)
	states := map[string]string{}
	for _, e := range list {
		states[e.Name] = e.State
	}
	return states, err
}

// Retrieve returns everything that luod holds for this unit by its name, also
// what was handed over since the last update; nothing on a unit's very first
// start. The caller owns the files, which have O_CLOEXEC set, and luod keeps
// its own. While luod can't tell yet what came through an update, Retrieve waits until
// ctx ends, as everything here does; if it can't tell in this boot the error wraps an
// *Error (Degraded), and a service that begins anew then gives up what it had.
func (c *Client) Retrieve(ctx context.Context) (map[string]*os.File, error) {
	list, err := c.list(ctx)
	for err == nil {
		var files map[string]*os.File
		if files, err = c.retrieve(ctx, list); err == nil {
			return files, nil
		}
		if !refusedAs(err, errorname.NoSuchName) {
			break
		}
		// luod has let go of what the unit has in its fd store again, or another process
		// of the unit has released something.
		before := list
		if list, err = c.list(ctx); err == nil && slices.Equal(list, before) {
			err = fmt.Errorf("retrieve: luod lists what it has not: %q", list)
		}
	}
	return nil, err
}

// retrieve returns the files of list.
func (c *Client) retrieve(ctx context.Context, list []entry) (map[string]*os.File, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	files := map[string]*os.File{}
	want := func(i int) (names []string) {
		for _, l := range list[i*perMessage : min((i+1)*perMessage, len(list))] {
			names = append(names, l.Name)
		}
		return names
	}
	send := func(i int) *dbus.Call { return c.send(ctx, busPrefix+"Retrieve", want(i)) }
	err := pipeline(messages(len(list)), send, func(i int, call *dbus.Call) error {
		call, _ = c.repeatCall(ctx, nil, call, func() *dbus.Call { return c.resend(ctx, busPrefix+"Retrieve", want(i)) })
		got, err := take(call)
		for _, n := range got {
			if old := files[n.Name]; old != nil {
				old.Close()
			}
			files[n.Name] = os.NewFile(uintptr(n.FD), n.Name)
		}
		if err != nil {
			cancel() // the others needn't be waited for
			return explain("Retrieve", err, false)
		}
		return nil
	})
	if err != nil {
		for _, f := range files {
			f.Close()
		}
		return nil, err
	}
	return files, nil
}

// take returns the descriptors of an answer to Retrieve, which the caller then owns.
func take(call *dbus.Call) ([]named, error) {
	if call.Err != nil {
		return nil, call.Err
	}
	var fds []named
	if err := call.Store(&fds); err != nil {
		drop(call)
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	for _, n := range fds {
		unix.CloseOnExec(int(n.FD))
	}
	return fds, nil
}
