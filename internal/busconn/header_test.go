package busconn

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// message makes one with the library.
func message(t testing.TB, order binary.ByteOrder, headers map[dbus.HeaderField]any, body ...any) []byte {
	t.Helper()
	m := &dbus.Message{Type: dbus.TypeMethodCall, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	for field, value := range headers {
		m.Headers[field] = dbus.MakeVariant(value)
	}
	if len(body) > 0 {
		m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	}
	var b bytes.Buffer
	if err := m.EncodeTo(&b, order); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var whole = map[dbus.HeaderField]any{
	dbus.FieldPath: dbus.ObjectPath("/org/luod/LiveUpdate1"), dbus.FieldInterface: "a.b", dbus.FieldMember: "Do", dbus.FieldSender: ":1.7",
	dbus.FieldDestination: "org.luod.LiveUpdate1", dbus.FieldUnixFDs: uint32(3),
}

func TestAHeaderIsReadAsTheLibraryReadsIt(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		b := message(t, order, whole, []string{"a", "bc"}, uint64(9))
		length, err := size(b[:fixed])
		if err != nil || length != len(b) {
			t.Fatalf("%d of %d bytes, %v", length, len(b), err)
		}
		h, err := parse(b)
		want := Header{Type: dbus.TypeMethodCall, Path: "/org/luod/LiveUpdate1", Interface: "a.b", Member: "Do", Sender: ":1.7", Destination: "org.luod.LiveUpdate1", Signature: "ast", UnixFDs: 3, bodyAt: h.bodyAt}
		if err != nil || h != want {
			t.Errorf("got %+v, %v", h, err)
		}
		a := (&Message{Header: h, raw: b}).Arguments()
		if texts, n := a.Texts(), a.Number(); !reflect.DeepEqual(texts, []string{"a", "bc"}) || n != 9 || a.Err() != nil {
			t.Errorf("%q, %d, %v", texts, n, a.Err())
		}
	}
}

func TestABadHeaderIsAnError(t *testing.T) {
	good := message(t, binary.LittleEndian, whole, "x")
	for what, spoil := range map[string]func(b []byte) []byte{
		"no byte order":       func(b []byte) []byte { b[0] = 'x'; return b },
		"fields past the end": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 1<<20); return b },
		"far too many fields": func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 1<<31); return b },
		"a field cut":         func(b []byte) []byte { binary.LittleEndian.PutUint32(b[12:], 5); return b },
		"a string for a path": func(b []byte) []byte { return bytes.Replace(b, []byte{1, 1, 'o', 0}, []byte{1, 1, 's', 0}, 1) },
		"a long string": func(b []byte) []byte {
			return bytes.Replace(b, []byte{3, 0, 0, 0, 'a', '.', 'b'}, []byte{255, 255, 255, 255, 'a', '.', 'b'}, 1)
		},
		"a container":          func(b []byte) []byte { return bytes.Replace(b, []byte{1, 1, 'o', 0}, []byte{20, 1, 'v', 0}, 1) },
		"a string with a NUL":  func(b []byte) []byte { return bytes.Replace(b, []byte("a.b"), []byte("a\x00b"), 1) },
		"nothing but a start":  func(b []byte) []byte { return b[:fixed] },
		"less than a start":    func(b []byte) []byte { return b[:fixed-1] },
		"a string without end": func(b []byte) []byte { return bytes.Replace(b, []byte("a.b\x00"), []byte("a.bc"), 1) },
	} {
		b := spoil(bytes.Clone(good))
		if bytes.Equal(b, good) {
			t.Errorf("%s: nothing is spoilt", what)
		}
		if h, err := parse(b); err == nil {
			t.Errorf("%s: %+v", what, h)
		}
	}
}

func TestBadArgumentsAreAnError(t *testing.T) {
	for what, c := range map[string]struct {
		body []byte
		read func(a *Arguments)
	}{
		"an array past the end":        {[]byte{255, 0, 0, 0}, func(a *Arguments) { a.Texts() }},
		"an endless array":             {[]byte{255, 255, 255, 255}, func(a *Arguments) { a.Texts() }},
		"a string past the array":      {[]byte{6, 0, 0, 0, 3, 0, 0, 0, 'a', 'b', 'c', 0}, func(a *Arguments) { a.Texts() }},
		"a string past the end":        {[]byte{9, 0, 0, 0, 'a', 0}, func(a *Arguments) { a.Text() }},
		"a boolean of 2":               {[]byte{2, 0, 0, 0}, func(a *Arguments) { a.Flag() }},
		"half a number":                {[]byte{2, 0, 0, 0}, func(a *Arguments) { a.Number() }},
		"nothing":                      {nil, func(a *Arguments) { a.Index() }},
		"descriptors past the end":     {[]byte{16, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'a', 0}, func(a *Arguments) { a.Named() }},
		"more entries than are read":   {append([]byte{0, 0, 2, 0}, make([]byte, 2<<16)...), func(a *Arguments) { a.Texts() }},
		"an option that nobody reads":  {[]byte{12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 1, 's', 0, 0, 0, 0}, func(a *Arguments) { a.Options(func(string, string) error { return nil }) }},
		"an option without a value":    {[]byte{6, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'a', 0}, func(a *Arguments) { a.Options(func(string, string) error { return nil }) }},
		"an option that isn't allowed": {[]byte{12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 'a', 0, 1, 's', 0, 0, 0, 0}, func(a *Arguments) { a.Options(func(string, string) error { return errShort }) }},
	} {
		m := &Message{raw: append([]byte{'l'}, c.body...), Header: Header{bodyAt: 1}}
		a := m.Arguments()
		c.read(a)
		if a.Err() == nil {
			t.Errorf("%s is taken", what)
		}
	}
}

// Whatever is sent, what this reads the library reads as well, and nothing panics.
func FuzzMessage(f *testing.F) {
	f.Add(message(f, binary.LittleEndian, whole, []string{"a"}, map[string]dbus.Variant{"x": dbus.MakeVariant(true), "y": dbus.MakeVariant([]string{"z"})}))
	f.Add(message(f, binary.BigEndian, whole, "a", map[string]dbus.Variant{"x": dbus.MakeVariant(uint64(1))}))
	f.Add(message(f, binary.LittleEndian, whole, []struct {
		Name string
		FD   dbus.UnixFDIndex
	}{{"a", 0}}, map[string]dbus.Variant{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < fixed {
			return
		}
		length, err := size(b[:fixed])
		if err != nil || length != len(b) {
			return
		}
		h, err := parse(b)
		if err != nil {
			return
		}
		m := &Message{Header: h, raw: b}
		if !read(m) {
			return // the library makes as much room as such a message says that it needs
		}
		theirs, err := dbus.DecodeMessage(bytes.NewReader(b))
		if err != nil || strings.ContainsRune(h.Signature, 'h') {
			return // it minds more than what is read here
		}
		if sender, _ := theirs.Headers[dbus.FieldSender].Value().(string); sender != h.Sender {
			t.Errorf("the sender is %q, says the library %q", h.Sender, sender)
		}
		if h.Signature == "as" {
			a := m.Arguments()
			texts := a.Texts()
			if want, is := theirs.Body[0].([]string); is && a.Err() == nil && !reflect.DeepEqual(append([]string{}, want...), texts) {
				t.Errorf("%q, says the library %q", texts, want)
			}
		}
	})
}

// read reads the body as what its signature says, and says whether methods take that.
func read(m *Message) bool {
	a := m.Arguments()
	for rest := m.Signature; rest != ""; {
		is := func(kind string) bool {
			var have bool
			if after, has := strings.CutPrefix(rest, kind); has {
				rest, have = after, true
			}
			return have
		}
		switch {
		case is("a(sh)"):
			a.Named()
		case is("a{sv}"):
			a.Options(func(_, signature string) error {
				switch signature {
				case "s":
					a.Text()
				case "b":
					a.Flag()
				case "t":
					a.Number()
				case "as":
					a.Texts()
				default:
					return errShort
				}
				return nil
			})
		case is("as"):
			a.Texts()
		case is("s"):
			a.Text()
		case is("t"):
			a.Number()
		default:
			return false
		}
	}
	return a.Err() == nil
}
