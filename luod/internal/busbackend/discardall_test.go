package busbackend

import (
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/holdings"
)

// What only looks must not discard, and the other way round.
func TestDiscardAllThroughTheDoor(t *testing.T) {
	_, r, _, conn := open(t)
	var units []holdings.Stake
	var unread string
	var stuck uint64
	if err := call(conn, "DiscardAll", map[string]dbus.Variant{"dry-run": dbus.MakeVariant(true)}).Store(&units, &unread, &stuck); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(units, []holdings.Stake{{Unit: "a.service", Count: 3, Bytes: 4096, Waiting: 1}}) || unread != "u" || stuck != 2 {
		t.Errorf("%v, %q, %d", units, unread, stuck)
	}
	if err := call(conn, "DiscardAll", none).Store(&units, &unread, &stuck); err != nil || len(units) != 0 {
		t.Errorf("%v, %v", units, err)
	}
	var release string
	if err := call(conn, "UnloadOwn").Store(&release); err != nil || release != "7.3" {
		t.Errorf("%q, %v", release, err)
	}
	if err := call(conn, "DiscardAll", map[string]dbus.Variant{"dry": dbus.MakeVariant(true)}).Err; errorName(err) != errorname.Prefix+"UnknownOption" {
		t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.registered, []string{"stakes", "discard all", "unload own"}) {
		t.Errorf("asked for %q", r.registered)
	}
}
