package busserver

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/peers"
)

// identity is what the bus says of a connection. It gives no name twice, and what it says
// of the process behind one never changes.
type identity struct {
	uid uint32
	// pid is for people to see, and nothing else, except on an old bus.
	pid uint32

	mu sync.Mutex
	// pidfd is of the process that made the connection; -1 if an old bus has none (dbus
	// ≥ 1.15.8, dbus-broker ≥ 35 have), as long as nobody has vouched for one.
	pidfd int
	// gone says that it was forgotten.
	gone bool
}

// process returns a duplicate of the pidfd, or -1.
func (i *identity) process() (int, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.gone:
		return -1, errors.New("so many others call that luod-bus has forgotten who this is: call again")
	case i.pidfd < 0:
		return -1, nil
	}
	fd, err := unix.FcntlInt(uintptr(i.pidfd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("duplicate a caller's pidfd: %w", err)
	}
	return fd, nil
}

// keep takes pidfd over, which is of the process.
func (i *identity) keep(pidfd int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.gone || i.pidfd >= 0 {
		unix.Close(pidfd)
		return
	}
	i.pidfd = pidfd
}

func (i *identity) close() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.gone = true
	if i.pidfd >= 0 {
		unix.Close(i.pidfd)
		i.pidfd = -1
	}
}

// ask asks the bus who sender is (org.freedesktop.DBus.GetConnectionCredentials).
func ask(ctx context.Context, conn *busconn.Conn, sender string) (*identity, error) {
	reply, err := conn.Call(ctx, busconn.Bus, "GetConnectionCredentials", sender)
	if err != nil {
		return nil, fmt.Errorf("ask the bus who %s is: %w", sender, err)
	}
	defer reply.Close()
	told := map[string]dbus.Variant{}
	if err := reply.Store(&told); err != nil {
		return nil, fmt.Errorf("ask the bus who %s is: %w", sender, err)
	}
	i := &identity{pidfd: -1}
	var is bool
	if i.uid, is = told["UnixUserID"].Value().(uint32); !is {
		return nil, fmt.Errorf("ask the bus who %s is: it does not tell the user", sender)
	}
	i.pid, _ = told["ProcessID"].Value().(uint32)
	if fd, is := told["ProcessFD"].Value().(dbus.UnixFD); is && reply.Keep(foreign.Descriptor(fd)) {
		i.pidfd = int(fd)
	}
	return i, nil
}

// maxCallers bounds how many identities are kept.
const maxCallers = 512

// callers are the connections that the bus has told of. The zero value has none.
type callers struct {
	mu     sync.Mutex
	byName map[string]*identity
	// order is that in which they became known.
	order  []string
	closed bool
}

func (c *callers) find(sender string) *identity {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.byName[sender]
}

// keep takes i over, in place of the oldest if there are too many. Who has the oldest in
// hand finds that it has no process any more.
func (c *callers) keep(sender string, i *identity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		i.close()
		return
	}
	if c.byName == nil {
		c.byName = map[string]*identity{}
	}
	c.byName[sender] = i
	c.order = append(c.order, sender)
	if len(c.order) > maxCallers {
		c.byName[c.order[0]].close()
		delete(c.byName, c.order[0])
		c.order = c.order[1:]
	}
}

func (c *callers) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range c.byName {
		i.close()
	}
	c.byName, c.order, c.closed = nil, nil, true
}

// byNumber opens the process that made sender's connection on a bus that has only its PID.
// When that was written down is of no use: it is the process that called connect(2), any
// time before the bus noticed, so that nothing is known that the process of today could
// be older than. The bus's own sockets know better, see [peers.Vouch], at which luod looks:
// opened before that and there after it, the process is theirs; and sender's connection was
// one of them if it is there after it too. The caller owns what is returned.
func (v *serving) byNumber(ctx context.Context, sender string, i *identity) (int, error) {
	pidfd, err := unix.PidfdOpen(int(i.pid), 0)
	if err != nil {
		return -1, &buslink.Error{Name: errorname.Prefix + errorname.NoUnit, Text: fmt.Sprintf("the caller is not a process of a system service: process %d is gone", i.pid)}
	}
	err = v.vouched(ctx, pidfd, i)
	if err == nil {
		err = peers.Alive(pidfd)
	}
	if err == nil {
		err = v.stillThere(ctx, sender, i.pid)
	}
	if err != nil {
		unix.Close(pidfd)
		return -1, err
	}
	return pidfd, nil
}

// vouched returns nil if all that the bus knows as the process of i is pidfd's.
func (v *serving) vouched(ctx context.Context, pidfd int, i *identity) error {
	reply, err := v.conn.Call(ctx, busconn.Bus, "GetConnectionUnixProcessID", busconn.Bus.Destination)
	bus := buslink.Bus{PID: i.pid}
	if err == nil {
		err = reply.Store(&bus.Bus)
	}
	if err != nil { // luod says what follows from that
		bus.Bus = 0
	}
	_, err = v.link.Ask(ctx, buslink.Vouch, &buslink.Caller{Process: true, UID: i.uid, PID: i.pid}, bus, nil, pidfd)
	return err
}

// stillThere returns nil if sender's connection was open when this began. The bus
// forgets a connection that it has closed only when it comes to that, at the end of the
// round of its main loop in which it may answer the first question (dbus:
// dbus/dbus-mainloop.c); the second, which is asked after that answer, is of a later one.
func (v *serving) stillThere(ctx context.Context, sender string, pid uint32) error {
	for range 2 {
		var again uint32
		reply, err := v.conn.Call(ctx, busconn.Bus, "GetConnectionUnixProcessID", sender)
		if err == nil {
			err = reply.Store(&again)
		}
		if err != nil || again != pid {
			return &buslink.Error{Name: errorname.Prefix + errorname.NoUnit, Text: fmt.Sprintf("the caller is not a process of a system service: its connection %s is gone", sender)}
		}
	}
	return nil
}

// caller is what luod is told of who calls, with a pidfd that the caller of this owns, or
// -1. unit says that it matters whose process it is.
func (c *call) caller(ctx context.Context, unit bool) (*buslink.Caller, int, error) {
	told := &buslink.Caller{UID: c.who.uid, PID: c.who.pid}
	fd, err := c.who.process()
	if err != nil {
		return nil, -1, err
	}
	if fd < 0 && unit {
		fd, err = c.byNumber(ctx, c.message.Sender, c.who)
		var refusal *buslink.Error
		switch {
		case errors.As(err, &refusal):
			// luod counts it as a call of the user's, and refuses it so.
			told.Unidentified = refusal
			return told, -1, nil
		case err != nil:
			return nil, -1, err
		}
		if again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			c.who.keep(again)
		}
	} else if fd < 0 {
		// Whose process it is doesn't matter but for root, which luod believes only of a
		// process that is root's now.
		if fd, err = unix.PidfdOpen(int(c.who.pid), 0); err != nil {
			fd = -1
		}
	}
	told.Process = fd >= 0
	return told, fd, nil
}
