package busconn

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/foreign"
)

// Object is who is called: an object of a program on the bus, and one of its interfaces.
type Object struct {
	Destination string
	Path        dbus.ObjectPath
	Interface   string
}

// Bus is the bus itself.
var Bus = Object{"org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"}

// Reply is what was answered to a call. Close it.
type Reply struct {
	body        []any
	descriptors []foreign.Descriptor
	bin         *foreign.Bin
}

// Store puts the values into what retvalues point to, as [dbus.Store].
func (r *Reply) Store(retvalues ...any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("read a reply: %v", p)
		}
	}()
	return dbus.Store(r.body, retvalues...)
}

// Keep takes d out of the reply; the caller owns it. False says that it isn't in there.
func (r *Reply) Keep(d foreign.Descriptor) bool {
	for i, have := range r.descriptors {
		if have == d {
			r.descriptors = append(r.descriptors[:i:i], r.descriptors[i+1:]...)
			return true
		}
	}
	return false
}

// Close closes the descriptors that nobody kept.
func (r *Reply) Close() {
	if r != nil {
		r.bin.Close(r.descriptors...)
		r.descriptors = nil
	}
}

// Call calls a method and waits for the reply until ctx ends. An error reply is a
// [dbus.Error]. Without a reply, with ErrClosed or ctx's error, the method may have been
// performed or not.
func (c *Conn) Call(ctx context.Context, o Object, method string, args ...any) (*Reply, error) {
	return c.CallWith(ctx, o, method, 0, args...)
}

// CallWith is Call with flags of the message.
func (c *Conn) CallWith(ctx context.Context, o Object, method string, flags dbus.Flags, args ...any) (*Reply, error) {
	m := &dbus.Message{Type: dbus.TypeMethodCall, Flags: flags, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldDestination: dbus.MakeVariant(o.Destination),
		dbus.FieldPath:        dbus.MakeVariant(o.Path),
		dbus.FieldInterface:   dbus.MakeVariant(o.Interface),
		dbus.FieldMember:      dbus.MakeVariant(method),
	}}
	to := make(chan *Message, 1)
	serial, err := c.request(m, to)
	if err != nil {
		return nil, err
	}
	select {
	case reply, is := <-to:
		if !is {
			return nil, fmt.Errorf("call %s: %w", method, ErrClosed)
		}
		return c.reply(reply)
	case <-ctx.Done():
		c.mu.Lock()
		delete(c.waiting, serial)
		c.mu.Unlock()
		select {
		case reply, is := <-to: // it came in between
			if is {
				c.bin.Close(reply.Descriptors...)
			}
		default:
		}
		return nil, fmt.Errorf("call %s: %w", method, ctx.Err())
	}
}

// request sends a call whose reply goes to the channel, which has room for it.
func (c *Conn) request(m *dbus.Message, to chan *Message) (uint32, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	return c.sendLocked(m, func(serial uint32) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.err != nil {
			return c.err
		}
		c.waiting[serial] = to
		return nil
	})
}

func (c *Conn) reply(m *Message) (*Reply, error) {
	body, err := m.Body()
	if err == nil && m.Type == dbus.TypeError {
		err = dbus.Error{Name: m.ErrorName, Body: body}
	}
	if err != nil {
		c.bin.Close(m.Descriptors...)
		return nil, err
	}
	return &Reply{body, m.Descriptors, c.bin}, nil
}

// Emit sends a signal.
func (c *Conn) Emit(path dbus.ObjectPath, iface, member string, args ...any) error {
	return c.Send(&dbus.Message{Type: dbus.TypeSignal, Flags: dbus.FlagNoReplyExpected, Body: args, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(path), dbus.FieldInterface: dbus.MakeVariant(iface), dbus.FieldMember: dbus.MakeVariant(member),
	}})
}

// Answer answers a call, with descriptors that it borrows in args. A call that wants no
// answer gets none.
func (c *Conn) Answer(to Header, args ...any) error {
	if to.NoReply() {
		return nil
	}
	if len(args) == 0 {
		return c.sendBytes(emptyAnswer(to), nil)
	}
	return c.Send(&dbus.Message{Type: dbus.TypeMethodReply, Flags: dbus.FlagNoReplyExpected, Body: args, Headers: c.answerHeaders(to)})
}

// emptyAnswer is the commonest message there is, which the library takes longer to make than
// all else that is done for many a call.
func emptyAnswer(to Header) []byte {
	b := []byte{'l', byte(dbus.TypeMethodReply), byte(dbus.FlagNoReplyExpected), 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	b = append(b, byte(dbus.FieldReplySerial), 1, 'u', 0)
	b = binary.LittleEndian.AppendUint32(b, to.Serial)
	if to.Sender != "" {
		b = append(b, byte(dbus.FieldDestination), 1, 's', 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(to.Sender)))
		b = append(append(b, to.Sender...), 0)
	}
	binary.LittleEndian.PutUint32(b[12:], uint32(len(b)-fixed))
	for len(b)%8 != 0 {
		b = append(b, 0)
	}
	return b
}

// Refuse answers a call with an error.
func (c *Conn) Refuse(to Header, name, text string) error {
	if to.NoReply() {
		return nil
	}
	headers := c.answerHeaders(to)
	headers[dbus.FieldErrorName] = dbus.MakeVariant(name)
	return c.Send(&dbus.Message{Type: dbus.TypeError, Flags: dbus.FlagNoReplyExpected, Body: []any{text}, Headers: headers})
}

func (c *Conn) answerHeaders(to Header) map[dbus.HeaderField]dbus.Variant {
	headers := map[dbus.HeaderField]dbus.Variant{dbus.FieldReplySerial: dbus.MakeVariant(to.Serial)}
	if to.Sender != "" {
		headers[dbus.FieldDestination] = dbus.MakeVariant(to.Sender)
	}
	return headers
}

// IsRemote says whether err is an error reply.
func IsRemote(err error) bool {
	var remote dbus.Error
	return errors.As(err, &remote)
}
