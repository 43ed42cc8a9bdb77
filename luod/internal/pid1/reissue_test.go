package pid1

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"
)

// received is value as it comes out of a message that had it in a variant.
func received(t *testing.T, value any) any {
	t.Helper()
	v := dbus.MakeVariant(value)
	var b bytes.Buffer
	m := &dbus.Message{Type: dbus.TypeSignal, Headers: map[dbus.HeaderField]dbus.Variant{
		dbus.FieldPath: dbus.MakeVariant(dbus.ObjectPath("/x")), dbus.FieldInterface: dbus.MakeVariant("x.y"), dbus.FieldMember: dbus.MakeVariant("z"),
		dbus.FieldSignature: dbus.MakeVariant(dbus.SignatureOf(v)),
	}, Body: []any{v}}
	if err := m.EncodeTo(&b, binary.LittleEndian); err != nil {
		t.Fatal(err)
	}
	m, err := dbus.DecodeMessage(&b)
	if err != nil {
		t.Fatal(err)
	}
	return m.Body[0].(dbus.Variant).Value()
}

// command is how PID 1 sends one.
type command struct {
	Path                     string
	Argv                     []string
	IgnoreErrors             bool
	Began, BeganM, End, EndM uint64
	PID                      uint32
	Code, Status             int32
}

func TestReissueOf(t *testing.T) {
	run := func(path string, argv ...string) command { return command{Path: path, Argv: argv} }
	reissue := run("/usr/lib/luod/luod-reissue", "/usr/lib/luod/luod-reissue", "--memfd=a:1M")
	for name, c := range map[string]struct {
		access   string
		storeMax uint32
		commands any
		want     Reissue
	}{
		"as it should be": {"exec", 512, []command{run("/x", "/x"), reissue}, Reissue{Runs: true, NotifyAccess: "exec", StoreMax: 512}},
		"in a shell":      {"all", 1, []command{run("/bin/sh", "sh", "-c", "exec /usr/lib/luod/luod-reissue")}, Reissue{Runs: true, NotifyAccess: "all", StoreMax: 1}},
		"not at all":      {"main", 0, []command{run("/x", "/x")}, Reissue{NotifyAccess: "main"}},
		"nothing":         {"none", 0, []command{}, Reissue{NotifyAccess: "none"}},
		"nonsense":        {"none", 0, "x", Reissue{NotifyAccess: "none"}},
	} {
		got, err := reissueOf(func(property string) (any, error) {
			return map[string]any{"NotifyAccess": c.access, "FileDescriptorStoreMax": c.storeMax, "ExecStartPre": received(t, c.commands), "RuntimeDirectory": received(t, []string{}), "RuntimeDirectoryPreserve": "no"}[property], nil
		})
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for preserve, want := range map[string][]string{"no": {"/run/a", "/run/b/c"}, "restart": {"/run/a", "/run/b/c"}, "yes": nil} {
		got, err := reissueOf(func(property string) (any, error) {
			return map[string]any{"RuntimeDirectory": received(t, []string{"a", "b/c"}), "RuntimeDirectoryPreserve": preserve}[property], nil
		})
		if err != nil || !slices.Equal(got.Removed, want) {
			t.Errorf("%s: %+v, %v", preserve, got, err)
		}
	}
	lost := errors.New("PID 1 is gone")
	for _, missing := range []string{"NotifyAccess", "FileDescriptorStoreMax", "ExecStartPre", "RuntimeDirectory", "RuntimeDirectoryPreserve"} {
		if _, err := reissueOf(func(property string) (any, error) {
			if property == missing {
				return nil, lost
			}
			return nil, nil
		}); !errors.Is(err, lost) {
			t.Errorf("%s: %v", missing, err)
		}
	}
}
