package main

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// Nothing that a service has a say in reaches a terminal as it is.
func TestWhatLuodTellsIsFitForATerminal(t *testing.T) {
	const bad, good = "a\x1b[31mb", `a\x1b[31mb`
	of := func(s string) []any {
		return []any{
			s, []string{s}, [][]any{{s, uint64(1)}},
			map[string]dbus.Variant{"p": dbus.MakeVariant(s), "q": dbus.MakeVariant([]string{s}), "n": dbus.MakeVariant(uint64(7))},
			[]map[string]dbus.Variant{{"r": dbus.MakeVariant(map[string]dbus.Variant{"s": dbus.MakeVariant(s)})}},
		}
	}
	if got := forTerminals(of(bad)); !reflect.DeepEqual(got, of(good)) {
		t.Errorf("%v", got)
	}
	if got := forTerminals(nil); len(got) != 0 {
		t.Errorf("%v", got)
	}
	for _, name := range []string{"org.luod.LiveUpdate1.Error.WouldNotSurvive", "org.freedesktop.DBus.Error.ServiceUnknown"} {
		err := plain(dbus.Error{Name: name, Body: []any{bad}})
		var remote dbus.Error
		if err == nil || errors.As(err, &remote) || !strings.Contains(err.Error(), good) || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%s: %q", name, err)
		}
	}
}
