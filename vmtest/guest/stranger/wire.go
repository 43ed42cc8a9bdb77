package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

const (
	name    = "org.luod.LiveUpdate1"
	path    = "/org/luod/LiveUpdate1"
	manager = "org.luod.LiveUpdate1.Manager"
	system  = "/run/dbus/system_bus_socket"
)

// raw is a connection on which anything can be sent.
type raw struct {
	conn   *net.UnixConn
	serial uint32
}

// dial connects to the bus and says hello.
func dial() (*raw, error) {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: system, Net: "unix"})
	if err != nil {
		return nil, err
	}
	r := &raw{conn: conn}
	uid := hex.EncodeToString([]byte(strconv.Itoa(os.Getuid())))
	for _, step := range []struct{ say, want string }{{"\x00AUTH EXTERNAL " + uid + "\r\n", "OK"}, {"NEGOTIATE_UNIX_FD\r\n", "AGREE_UNIX_FD"}} {
		if _, err := conn.Write([]byte(step.say)); err != nil {
			return nil, err
		}
		b := make([]byte, 200)
		n, err := conn.Read(b)
		if err != nil || !strings.HasPrefix(string(b[:n]), step.want) {
			conn.Close()
			return nil, fmt.Errorf("the bus says %q: %w", b[:n], err)
		}
	}
	if _, err := conn.Write([]byte("BEGIN\r\n")); err != nil {
		return nil, err
	}
	if err := r.send(message{to: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", iface: "org.freedesktop.DBus", member: "Hello"}); err != nil {
		return nil, err
	}
	return r, nil
}

// message is one that need make no sense.
type message struct {
	kind                             byte // a call unless it says else
	to, path, iface, member, errorIs string
	flags                            byte
	signature                        string
	body                             []byte
	fds                              []int
	// claims are how many descriptors it says that it has, if not as many as it has.
	claims int
	// replyTo is the serial of a call.
	replyTo uint32
}

// bytes makes it ready to be sent.
func (m message) bytes(serial uint32) []byte {
	kind := m.kind
	if kind == 0 {
		kind = byte(dbus.TypeMethodCall)
	}
	headers := map[dbus.HeaderField]dbus.Variant{}
	for field, text := range map[dbus.HeaderField]string{dbus.FieldDestination: m.to, dbus.FieldInterface: m.iface, dbus.FieldMember: m.member, dbus.FieldErrorName: m.errorIs} {
		if text != "" {
			headers[field] = dbus.MakeVariant(text)
		}
	}
	if m.path != "" {
		headers[dbus.FieldPath] = dbus.MakeVariant(dbus.ObjectPath(m.path))
	}
	if m.replyTo > 0 {
		headers[dbus.FieldReplySerial] = dbus.MakeVariant(m.replyTo)
	}
	if n := max(len(m.fds), m.claims); n > 0 {
		headers[dbus.FieldUnixFDs] = dbus.MakeVariant(uint32(n))
	}
	if m.signature != "" {
		headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.ParseSignatureMust(m.signature))
	}
	var b bytes.Buffer
	if err := (&dbus.Message{Type: dbus.Type(kind), Flags: dbus.Flags(m.flags), Headers: headers}).EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	all := append(b.Bytes(), m.body...)
	binary.LittleEndian.PutUint32(all[4:], uint32(len(m.body)))
	binary.LittleEndian.PutUint32(all[8:], serial)
	return all
}

// body encodes values.
func body(values ...any) (string, []byte) {
	m := &dbus.Message{Type: dbus.TypeMethodCall, Body: values, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/")), dbus.FieldMember: dbus.MakeVariant("A"), dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(values...)),
	}}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		panic(err)
	}
	n := binary.LittleEndian.Uint32(b.Bytes()[4:])
	return dbus.SignatureOf(values...).String(), b.Bytes()[b.Len()-int(n):]
}

func (r *raw) send(m message) error {
	r.serial++
	return r.sendBytes(m.bytes(r.serial), m.fds)
}

func (r *raw) sendBytes(b []byte, fds []int) error {
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	_ = r.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	for len(b) > 0 {
		n, _, err := r.conn.WriteMsgUnix(b, oob, nil)
		if err != nil {
			return err
		}
		b, oob = b[n:], nil
	}
	return nil
}

// drain forgets what has come, and says whether the connection is gone.
func (r *raw) drain() error {
	_ = r.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	b := make([]byte, 64<<10)
	for {
		if _, err := r.conn.Read(b); errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// call is a message to luod.
func call(member string, values ...any) message {
	m := message{to: name, path: path, iface: manager, member: member}
	if len(values) > 0 {
		m.signature, m.body = body(values...)
	}
	return m
}
