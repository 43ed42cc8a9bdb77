package busconn

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/fdstream"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/scmrights"
)

const (
	// MaxMessage is how long a message may be that is read, in bytes. All others are
	// passed over.
	MaxMessage = 512 << 10
	// dialTimeout bounds the wait for a bus that takes connections and says nothing.
	dialTimeout = 10 * time.Second
	// writeTimeout bounds the wait for a bus that reads nothing.
	writeTimeout = 30 * time.Second
)

// ErrClosed says that the connection is gone, and that a call under way may have been
// heard or not.
var ErrClosed = errors.New("the connection to the bus is gone")

// Conn is a connection. Its methods may be called concurrently.
type Conn struct {
	conn *net.UnixConn
	in   *fdstream.Reader
	bin  *foreign.Bin
	// name is this connection's own on the bus.
	name string

	// done is closed when the connection is gone, and read when nobody reads it any more.
	done, read chan struct{}

	writing sync.Mutex
	// serial is the last that was sent.
	serial uint32

	mu      sync.Mutex
	waiting map[uint32]chan *Message
	err     error
}

// SystemBus is the address of the system bus: $DBUS_SYSTEM_BUS_ADDRESS, or where the
// specification has it.
func SystemBus() string {
	if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
		return address
	}
	return "unix:path=/run/dbus/system_bus_socket"
}

// Dial connects to the bus at address, of which only unix:path= and unix:abstract= are
// understood, and says hello. bin takes descriptors that nobody wants. handle is told of
// every method call and signal that comes, one after the other; it owns the message, and
// nothing else is read until it returns. A nil handle drops them.
func Dial(ctx context.Context, address string, bin *foreign.Bin, handle func(*Conn, *Message)) (*Conn, error) {
	path, err := pathIn(address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	conn := raw.(*net.UnixConn)
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if err := authenticate(conn); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to the bus: %w", err)
	}
	_ = conn.SetDeadline(time.Time{})
	c := New(conn, bin, handle)
	reply, err := c.Call(ctx, Bus, "Hello")
	if err == nil {
		err = reply.Store(&c.name)
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("say hello to the bus: %w", err)
	}
	return c, nil
}

// New takes over a socket on which messages go to and fro.
func New(conn *net.UnixConn, bin *foreign.Bin, handle func(*Conn, *Message)) *Conn {
	c := &Conn{conn: conn, in: fdstream.New(conn), bin: bin, done: make(chan struct{}), read: make(chan struct{}), waiting: map[uint32]chan *Message{}}
	if handle == nil {
		handle = func(_ *Conn, m *Message) { bin.Close(m.Descriptors...) }
	}
	go c.listen(handle)
	return c
}

func pathIn(address string) (string, error) {
	for one := range strings.SplitSeq(address, ";") {
		list, is := strings.CutPrefix(one, "unix:")
		if !is {
			continue
		}
		for pair := range strings.SplitSeq(list, ",") {
			switch key, value, _ := strings.Cut(pair, "="); key {
			case "path":
				return dbus.UnescapeBusAddressValue(value)
			case "abstract":
				value, err := dbus.UnescapeBusAddressValue(value)
				return "@" + value, err
			}
		}
	}
	return "", fmt.Errorf("the bus address %q has no unix:path= or unix:abstract=", address)
}

// Name is the connection's unique name.
func (c *Conn) Name() string { return c.name }

// Done is closed when the connection is gone.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Close ends the connection; whoever waits for a reply gets ErrClosed. When it returns,
// nothing more is handled, so that it is not for whoever handles.
func (c *Conn) Close() {
	c.end(ErrClosed)
	<-c.read
}

// Broken says whether the connection is gone.
func (c *Conn) Broken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

func (c *Conn) end(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	c.err = err
	c.conn.Close()
	for serial, to := range c.waiting {
		close(to)
		delete(c.waiting, serial)
	}
	close(c.done)
}

func (c *Conn) listen(handle func(*Conn, *Message)) {
	defer close(c.read)
	defer func() { c.bin.Close(c.in.Close()...) }()
	for {
		m, err := c.next()
		if err != nil {
			c.end(fmt.Errorf("%w: %w", ErrClosed, err))
			return
		}
		switch {
		case m == nil: // passed over
		case m.Type == dbus.TypeMethodReply || m.Type == dbus.TypeError:
			c.answered(m)
		case m.Type == dbus.TypeMethodCall || m.Type == dbus.TypeSignal:
			handle(c, m)
		default:
			c.bin.Close(m.Descriptors...)
		}
	}
}

// next reads a message, or passes one over, which is nil. An error means that nobody knows
// where the next would begin.
func (c *Conn) next() (*Message, error) {
	start, err := c.in.Peek(fixed)
	if err != nil {
		return nil, err
	}
	length, err := size(start)
	if err != nil {
		return nil, err
	}
	if length > MaxMessage {
		descriptors, err := c.in.Skip(length)
		c.bin.Close(descriptors...)
		return nil, err
	}
	m := &Message{raw: make([]byte, length)}
	if m.Descriptors, err = c.in.Next(m.raw); err == nil {
		m.Header, err = parse(m.raw)
		if err == nil && m.UnixFDs == uint32(len(m.Descriptors)) {
			return m, nil
		}
		err = nil // the next one begins where this ends
	}
	c.bin.Close(m.Descriptors...)
	return nil, err
}

// answered hands a reply to whoever waits for it.
func (c *Conn) answered(m *Message) {
	c.mu.Lock()
	to := c.waiting[m.ReplySerial]
	delete(c.waiting, m.ReplySerial)
	if to != nil {
		to <- m // it has room
	}
	c.mu.Unlock()
	if to == nil {
		c.bin.Close(m.Descriptors...)
	}
}

// Send sends a message, of which it sets the serial, and returns when it is on its way:
// descriptors in it, which it borrows, may be closed then.
func (c *Conn) Send(m *dbus.Message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.sendLocked(m, nil)
	return err
}

// sendLocked has before called, which may be nil, with the serial that m is about to have.
func (c *Conn) sendLocked(m *dbus.Message, before func(serial uint32) error) (uint32, error) {
	if len(m.Body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(m.Body...))
		fds, err := m.CountFds()
		if err != nil {
			return 0, fmt.Errorf("send a message: %w", err)
		}
		if fds > scmrights.Max {
			return 0, fmt.Errorf("send a message: it has %d file descriptors, and at most %d can be sent at once", fds, scmrights.Max)
		}
		if fds > 0 {
			m.Headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(fds))
		}
	}
	var b bytes.Buffer
	fds, err := m.EncodeToWithFDs(&b, binary.LittleEndian)
	if err != nil {
		return 0, fmt.Errorf("send a message: %w", err)
	}
	return c.sendBytesLocked(b.Bytes(), fds, before)
}

// sendBytes sends a message but for its serial.
func (c *Conn) sendBytes(b []byte, fds []int) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	_, err := c.sendBytesLocked(b, fds, nil)
	return err
}

func (c *Conn) sendBytesLocked(b []byte, fds []int, before func(serial uint32) error) (uint32, error) {
	if c.serial++; c.serial == 0 {
		c.serial++
	}
	binary.LittleEndian.PutUint32(b[8:], c.serial)
	if before != nil {
		if err := before(c.serial); err != nil {
			return 0, err
		}
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := write(c.conn, b, fds); err != nil {
		// Nobody knows how much of it is there.
		c.end(fmt.Errorf("%w: %w", ErrClosed, err))
		return 0, fmt.Errorf("send a message: %w", err)
	}
	return c.serial, nil
}

func write(conn *net.UnixConn, b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	for len(b) > 0 {
		n, _, err := conn.WriteMsgUnix(b, oob, nil)
		if err != nil {
			return err
		}
		b, oob = b[n:], nil
	}
	return nil
}
