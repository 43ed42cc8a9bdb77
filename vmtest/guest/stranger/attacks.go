package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// attack does harm until it is over. It returns when it is, or can't go on.
type attack func(over time.Time) error

// attacks are all that there are, by name.
var attacks = map[string]attack{
	"an oversized message":                          again(large("Release", 30<<20)),
	"an oversized message with descriptors":         again(func() message { m := large("Preserve", 8<<20)(); m.fds = memfds(16); return m }),
	"a message that the library does not decode":    again(func() message { return undecodable("ListNames") }),
	"one as the arguments that are expected":        again(func() message { return inVariant("Register", undecodableValue) }),
	"a deep message":                                again(func() message { return inVariant("Register", deep(60)) }),
	"deep arrays":                                   again(func() message { return arrays(30) }),
	"very many names":                               again(func() message { return call("Release", make([]string, 100_000)) }),
	"very many options":                             again(func() message { return options(10_000) }),
	"one large option":                              again(func() message { return inVariant("Register", dbus.MakeVariant(make([]byte, 400<<10))) }),
	"a long signature":                              again(longSignature),
	"a slow message":                                slow,
	"half a message":                                half,
	"stray descriptors":                             again(func() message { m := call("ListNames"); m.fds = memfds(16); return m }),
	"stray descriptors in signals":                  again(func() message { m := signal(); m.fds = memfds(16); return m }),
	"stray descriptors beside those that are meant": again(strays),
	"a descriptor that is not there":                again(func() message { return pointing(99) }),
	"descriptors of the wrong kind":                 again(wrongKind),
	"closed descriptors":                            again(closedOnes),
	"too many descriptors":                          fresh(func() message { m := pointing(0); m.fds = memfds(17); return m }),
	"fewer descriptors than it says":                fresh(func() message { m := pointing(0); m.fds = memfds(1); m.claims = 16; return m }),
	"a flood of calls":                              flood(1, "ListNames"),
	"a flood on many connections":                   flood(16, "ListNames"),
	"a flood of each method":                        flood(8, "Preserve", "Release", "Retrieve", "CreateSession", "Register", "Unregister", "Ready", "Fail", "Inhibit", "ListInhibitors", "Cancel", "ListNames", "ListFileDescriptors", "Discard", "DiscardAll", "Report", "ListEntries", "Check", "Load", "Unload", "UnloadOwn", "LiveUpdate"),
	"a flood of properties":                         again(func() message { m := call("GetAll", manager); m.iface = "org.freedesktop.DBus.Properties"; return m }),
	"a flood of introspection":                      again(func() message { m := call("Introspect"); m.iface = "org.freedesktop.DBus.Introspectable"; return m }),
	"a flood without reading":                       unread,
	"a flood that wants no answer":                  again(func() message { m := call("ListNames"); m.flags = byte(dbus.FlagNoReplyExpected); return m }),
	"connections one after the other":               fresh(func() message { return call("ListNames") }),
	"forged signals to everybody":                   again(func() message { m := signal(); m.to = ""; return m }),
	"forged signals to luod-bus":                    again(signal),
	"large signals to luod-bus":                     again(func() message { m := signal(); m.signature, m.body = body(strings.Repeat("x", 4<<20)); return m }),
	"forged answers":                                forgedAnswers,
	"forged errors":                                 again(func() message { return message{kind: byte(dbus.TypeError), to: name, errorIs: "a.b.C", replyTo: 3} }),
	"a forged name": again(func() message {
		s, b := body(name, uint32(3))
		return message{to: "org.freedesktop.DBus", path: "/org/freedesktop/DBus", iface: "org.freedesktop.DBus", member: "RequestName", signature: s, body: b}
	}),
	"objects and interfaces that are not there": again(func() message {
		m := call("ListNames")
		m.path, m.iface = "/"+strings.Repeat("a/", 5000)+"a", "a."+strings.Repeat("b", 200)
		return m
	}),
	"updates without end":    again(func() message { return call("LiveUpdate", map[string]dbus.Variant{"no-block": dbus.MakeVariant(true)}) }),
	"inhibitors without end": again(func() message { return call("Inhibit", "live-update", "x", "y", "block") }),
	"registers without end":  again(func() message { return call("Register", map[string]dbus.Variant{}) }),
	"passwords asked for ever": again(func() message {
		m := call("Cancel", "x")
		m.flags = byte(dbus.FlagAllowInteractiveAuthorization)
		return m
	}),
}

// sent and ended count messages, and connections that the bus has ended: what it does not
// take harms nobody else.
var sent, ended atomic.Int64

// again sends a message again and again, on a new connection where the bus ends one.
func again(make func() message) attack {
	return func(over time.Time) error {
		r, err := dial()
		if err != nil {
			return err
		}
		defer func() { r.conn.Close() }()
		for n := 0; time.Now().Before(over); n++ {
			m := make()
			err := r.send(m)
			closeAll(m.fds)
			sent.Add(1)
			if err == nil && n%16 == 15 {
				err = r.drain()
			}
			if err != nil {
				ended.Add(1)
				r.conn.Close()
				time.Sleep(10 * time.Millisecond)
				if r, err = dial(); err != nil {
					return err
				}
			}
		}
		return nil
	}
}

// fresh is again with a connection for each message.
func fresh(make func() message) attack {
	return func(over time.Time) error {
		for time.Now().Before(over) {
			r, err := dial()
			if err != nil {
				return err
			}
			m := make()
			_ = r.send(m)
			closeAll(m.fds)
			time.Sleep(time.Millisecond)
			r.conn.Close()
		}
		return nil
	}
}

// flood calls methods on many connections at once. Of very many dbus-daemon itself makes everybody
// wait: it takes 2 KiB from each in turn, and then gives 2 KiB of it to whom it is for
// (dbus: dbus/dbus-transport-socket.c).
func flood(connections int, methods ...string) attack {
	return func(over time.Time) error {
		done := make(chan error)
		for range connections {
			go func() {
				n := 0
				done <- again(func() message {
					n++
					return arguments(methods[n%len(methods)])
				})(over)
			}()
		}
		var first error
		for range connections {
			if err := <-done; first == nil {
				first = err
			}
		}
		return first
	}
}

// arguments are some that the method takes.
func arguments(method string) message {
	none := map[string]dbus.Variant{}
	switch method {
	case "Release", "Retrieve":
		return call(method, []string{"x"})
	case "CreateSession", "Fail", "Cancel":
		return call(method, "x")
	case "Register", "DiscardAll", "LiveUpdate":
		return call(method, none)
	case "Discard":
		return call(method, "a.service", []string{"x"})
	case "Report":
		return call(method, uint64(0))
	case "Check", "Load":
		return call(method, "/etc/shadow", none)
	case "Inhibit":
		return call(method, "live-update", "x", "y", "block")
	case "Preserve":
		m := pointing(0)
		m.fds = memfds(1)
		return m
	}
	return call(method)
}

func large(method string, size int) func() message {
	text := strings.Repeat("x", size)
	return func() message { return call(method, []string{text}) }
}

// undecodable has a body of the type a{gs}, which is fine for the bus.
func undecodable(method string) message {
	m := call(method)
	m.signature, m.body = "a{gs}", undecodableBody()
	return m
}

func undecodableBody() []byte {
	var b bytes.Buffer
	entry := []byte{1, 's', 0, 0, 1, 0, 0, 0, 'x', 0}
	_ = binary.Write(&b, binary.LittleEndian, uint32(len(entry)))
	b.Write([]byte{0, 0, 0, 0}) // entries begin at a multiple of 8
	b.Write(entry)
	return b.Bytes()
}

// undecodableValue is that in a variant, by its bytes.
var undecodableValue = dbus.Variant{}

// inVariant has options with one value.
func inVariant(method string, value dbus.Variant) message {
	m := call(method)
	m.signature = "a{sv}"
	if value == (dbus.Variant{}) {
		var b bytes.Buffer
		key := []byte{1, 0, 0, 0, 'a', 0, 5, 'a', '{', 'g', 's', '}', 0}
		for len(key)%4 != 0 {
			key = append(key, 0)
		}
		entry := []byte{1, 's', 0, 0, 1, 0, 0, 0, 'x', 0}
		var value bytes.Buffer
		_ = binary.Write(&value, binary.LittleEndian, uint32(len(entry)))
		for (8+len(key)+value.Len())%8 != 0 {
			value.WriteByte(0)
		}
		value.Write(entry)
		_ = binary.Write(&b, binary.LittleEndian, uint32(len(key)+value.Len()))
		b.Write([]byte{0, 0, 0, 0})
		b.Write(key)
		b.Write(value.Bytes())
		m.body = b.Bytes()
		return m
	}
	_, m.body = body(map[string]dbus.Variant{"timeout": value})
	return m
}

func deep(n int) dbus.Variant {
	v := dbus.MakeVariant("x")
	for range n {
		v = dbus.MakeVariant(v)
	}
	return v
}

func arrays(n int) message {
	m := call("ListNames")
	m.signature, m.body = strings.Repeat("a", n)+"s", []byte{0, 0, 0, 0}
	return m
}

func options(n int) message {
	all := map[string]dbus.Variant{}
	for i := range n {
		all[fmt.Sprint("o", i)] = dbus.MakeVariant(uint64(i))
	}
	return call("Register", all)
}

func longSignature() message {
	m := call("ListNames")
	m.signature = strings.Repeat("y", 255)
	m.body = make([]byte, 255)
	return m
}

// slow sends a message a byte at a time.
func slow(over time.Time) error {
	r, err := dial()
	if err != nil {
		return err
	}
	defer r.conn.Close()
	for time.Now().Before(over) {
		r.serial++
		for _, b := range call("ListNames").bytes(r.serial) {
			if err := r.sendBytes([]byte{b}, nil); err != nil {
				return err
			}
			time.Sleep(time.Millisecond)
		}
	}
	return nil
}

// half leaves many connections in the middle of a message.
func half(over time.Time) error {
	for range 100 {
		r, err := dial()
		if err != nil {
			return err
		}
		defer r.conn.Close()
		m := call("Preserve", []string{"x"})
		m.fds = memfds(16)
		b := m.bytes(2)
		if err := r.sendBytes(b[:len(b)-3], m.fds); err != nil {
			return err
		}
		closeAll(m.fds)
	}
	time.Sleep(time.Until(over))
	return nil
}

func memfds(n int) []int {
	var fds []int
	for range n {
		if fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC); err == nil {
			fds = append(fds, fd)
		}
	}
	return fds
}

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// pointing is a Preserve of descriptor number n of the message.
func pointing(n uint32) message {
	m := call("Preserve")
	var b bytes.Buffer
	for _, v := range []uint32{14, 0} { // entries begin at a multiple of 8
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	b.Write([]byte{1, 0, 0, 0, 'x', 0, 0, 0})
	_ = binary.Write(&b, binary.LittleEndian, n)
	binary.LittleEndian.PutUint32(b.Bytes(), uint32(b.Len()-8))
	b.Write([]byte{0, 0, 0, 0}) // no options
	for range (8 - b.Len()%8) % 8 {
		b.WriteByte(0)
	}
	m.signature, m.body = "a(sh)a{sv}", b.Bytes()
	return m
}

func strays() message {
	m := pointing(0)
	m.fds = memfds(16)
	return m
}

func wrongKind() message {
	m := pointing(0)
	fds := []int{}
	for _, open := range []func() (int, error){
		func() (int, error) { return unix.Open("/", unix.O_RDONLY|unix.O_DIRECTORY, 0) },
		func() (int, error) { return unix.Open("/dev/null", unix.O_RDWR, 0) },
		func() (int, error) { return unix.Open("/proc/self/mem", unix.O_RDWR, 0) },
		func() (int, error) { return unix.Open("/etc/passwd", unix.O_PATH, 0) },
		func() (int, error) { return unix.Eventfd(0, 0) },
		func() (int, error) { return unix.PidfdOpen(os.Getpid(), 0) },
	} {
		if fd, err := open(); err == nil {
			fds = append(fds, fd)
		}
	}
	m.fds = fds
	return m
}

func closedOnes() message {
	m := pointing(0)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.Close(pair[1])
		m.fds = pair[:1]
	}
	return m
}

// unread calls and reads no answer.
func unread(over time.Time) error {
	r, err := dial()
	if err != nil {
		return err
	}
	defer r.conn.Close()
	for time.Now().Before(over) {
		if err := r.send(call("ListNames")); err != nil {
			time.Sleep(time.Until(over)) // the bus takes no more
			return nil
		}
	}
	return nil
}

// luodBus is the unique name of who has luod's.
func luodBus() string {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return name
	}
	defer conn.Close()
	owner := name
	_ = conn.BusObject().Call("org.freedesktop.DBus.GetNameOwner", 0, name).Store(&owner)
	return owner
}

var owner string

func signal() message {
	if owner == "" {
		owner = luodBus()
	}
	m := message{kind: byte(dbus.TypeSignal), to: owner, path: path + "/unit/a_2eservice", iface: "org.luod.LiveUpdate1.Unit", member: "PrepareForLiveUpdate"}
	m.signature, m.body = body(uint64(1), uint64(0))
	return m
}

// forgedAnswers answers what nobody has asked this.
func forgedAnswers(over time.Time) error {
	n := uint32(0)
	return again(func() message {
		n++
		if owner == "" {
			owner = luodBus()
		}
		m := message{kind: byte(dbus.TypeMethodReply), to: owner, replyTo: n}
		m.signature, m.body = body(map[string]dbus.Variant{"UnixUserID": dbus.MakeVariant(uint32(0)), "ProcessID": dbus.MakeVariant(uint32(1))})
		return m
	})(over)
}

func names() []string {
	var all []string
	for name := range attacks {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
