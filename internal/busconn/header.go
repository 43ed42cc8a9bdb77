package busconn

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Header is a message's without its body (D-Bus specification, Message Format). Fields
// that a message hasn't got are empty.
type Header struct {
	Type   dbus.Type
	Flags  dbus.Flags
	Serial uint32

	Path, Interface, Member, ErrorName string
	Destination, Sender, Signature     string
	ReplySerial, UnixFDs               uint32

	// bodyAt is where the body begins in the message.
	bodyAt int
}

// NoReply says that the sender wants no answer.
func (h Header) NoReply() bool { return h.Flags&dbus.FlagNoReplyExpected != 0 }

const (
	// fixed is the part of a header whose size is always the same: until the length of
	// the array of fields, which it includes.
	fixed = 16
	// maxArray is the longest array, in bytes, that the specification allows.
	maxArray = 1 << 26
)

// size reads from the fixed part of a header how long the message is.
func size(b []byte) (int, error) {
	order, err := byteOrder(b[0])
	if err != nil {
		return 0, err
	}
	body, fields := order.Uint32(b[4:]), order.Uint32(b[12:])
	if fields > maxArray || body > 2*maxArray {
		return 0, fmt.Errorf("it says that it has %d bytes of fields and %d of body", fields, body)
	}
	return fixed + (int(fields)+7)&^7 + int(body), nil
}

func byteOrder(b byte) (binary.ByteOrder, error) {
	switch b {
	case 'l':
		return binary.LittleEndian, nil
	case 'B':
		return binary.BigEndian, nil
	}
	return nil, fmt.Errorf("the byte order %q is none", b)
}

var errShort = errors.New("it ends in the middle of a field")

// parse reads the header of a whole message.
func parse(b []byte) (Header, error) {
	if len(b) < fixed {
		return Header{}, errShort
	}
	order, err := byteOrder(b[0])
	if err != nil {
		return Header{}, err
	}
	h := Header{Type: dbus.Type(b[1]), Flags: dbus.Flags(b[2]), Serial: order.Uint32(b[8:])}
	fields := int64(order.Uint32(b[12:]))
	end := fixed + fields
	h.bodyAt = int((end + 7) &^ 7)
	if fields > maxArray || h.bodyAt > len(b) {
		return Header{}, errShort
	}
	for r := (reader{b: b[:end], at: fixed, order: order}); r.at < len(r.b); {
		if err := h.field(&r); err != nil {
			return Header{}, err
		}
	}
	return h, nil
}

// field reads one: (yv).
func (h *Header) field(r *reader) error {
	r.align(8)
	code := dbus.HeaderField(r.byte())
	signature := r.signature()
	var text *string
	var number *uint32
	want := "s"
	switch code {
	case dbus.FieldPath:
		text, want = &h.Path, "o"
	case dbus.FieldInterface:
		text = &h.Interface
	case dbus.FieldMember:
		text = &h.Member
	case dbus.FieldErrorName:
		text = &h.ErrorName
	case dbus.FieldReplySerial:
		number, want = &h.ReplySerial, "u"
	case dbus.FieldDestination:
		text = &h.Destination
	case dbus.FieldSender:
		text = &h.Sender
	case dbus.FieldSignature:
		text, want = &h.Signature, "g"
	case dbus.FieldUnixFDs:
		number, want = &h.UnixFDs, "u"
	default: // to be ignored, says the specification
		want = signature
	}
	if r.short {
		return errShort
	}
	if signature != want {
		return fmt.Errorf("its field %d is of type %q and not %q", code, signature, want)
	}
	value, n, err := r.value(signature)
	switch {
	case err != nil:
		return err
	case r.short:
		return errShort
	case text != nil:
		*text = value
	case number != nil:
		*number = n
	}
	return nil
}

// reader takes values out of a message, and notes if there were not enough bytes.
type reader struct {
	b     []byte
	at    int
	order binary.ByteOrder
	short bool
}

func (r *reader) align(n int) { r.at = (r.at + n - 1) &^ (n - 1) }

func (r *reader) take(n int) []byte {
	if r.short || n < 0 || r.at > len(r.b) || n > len(r.b)-r.at {
		r.short = true
		return make([]byte, min(max(n, 0), 8))
	}
	r.at += n
	return r.b[r.at-n : r.at]
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) uint32() uint32 {
	r.align(4)
	return r.order.Uint32(r.take(4))
}

// text takes n bytes and the NUL after them.
func (r *reader) text(n int) string {
	b := r.take(n + 1)
	if r.short || b[n] != 0 {
		r.short = true
		return ""
	}
	return string(b[:n])
}

func (r *reader) signature() string { return r.text(int(r.byte())) }

// value takes one of a basic type; a container in a header is nothing that anybody sends.
func (r *reader) value(signature string) (text string, number uint32, err error) {
	switch signature {
	case "s", "o":
		n := r.uint32()
		if int64(n) >= int64(len(r.b)) {
			return "", 0, errShort
		}
		text = r.text(int(n))
		if strings.IndexByte(text, 0) >= 0 {
			return "", 0, errors.New("a string in its header has a NUL inside")
		}
		return text, 0, nil
	case "g":
		return r.signature(), 0, nil
	case "y":
		return "", uint32(r.byte()), nil
	case "u", "i", "b", "h":
		return "", r.uint32(), nil
	case "n", "q":
		r.align(2)
		r.take(2)
		return "", 0, nil
	case "x", "t", "d":
		r.align(8)
		r.take(8)
		return "", 0, nil
	}
	return "", 0, fmt.Errorf("it has a field of type %q", signature)
}
