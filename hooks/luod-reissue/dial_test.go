package main

import (
	"testing"

	"github.com/godbus/dbus/v5"
)

func TestWhetherLuodIsWorthWaitingFor(t *testing.T) {
	none, queued := []any{uint32(0), dbus.ObjectPath("/")}, []any{uint32(7), dbus.ObjectPath("/org/freedesktop/systemd1/job/7")}
	for _, c := range []struct {
		active any
		job    any
		want   bool
		known  bool
	}{
		{"inactive", none, false, true}, // not installed, masked or stopped
		{"failed", none, false, true},
		{"inactive", queued, true, true},
		{"active", none, true, true},
		{"activating", none, true, true}, // between a crash and its restart
		{"deactivating", none, true, true},
		{nil, none, false, false},
		{"inactive", nil, false, false},
		{"inactive", []any{}, false, false},
		{"inactive", []any{"x"}, false, false},
	} {
		s, known := stateOf(map[string]any{"ActiveState": c.active, "Job": c.job})
		if known != c.known || known && s.coming() != c.want {
			t.Errorf("%v, %v: got %+v, %v", c.active, c.job, s, known)
		}
	}
}
