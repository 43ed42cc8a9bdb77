package busbackend

import (
	"slices"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
)

func TestKernelsAreCheckedAndLoadedThroughTheDoor(t *testing.T) {
	_, r, _, conn := open(t)
	options := map[string]dbus.Variant{
		"initrds": dbus.MakeVariant([]string{"/i", "/j"}), "command-line": dbus.MakeVariant("quiet"), "override": dbus.MakeVariant([]string{"memory"}),
	}
	for _, method := range []string{"Check", "Load"} {
		var got []buslink.Result
		var about map[string]dbus.Variant
		if err := call(conn, method, "a.conf", options).Store(&got, &about); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, []buslink.Result{{Name: "memory", Verdict: "warn", Reason: "r", Remedy: "m"}}) || about["Kernel"].Value() != "/k" || about["CommandLine"].Value() != "x" || about["Release"].Value() != "7.3" || about["Digest"].Value() != "d" {
			t.Errorf("%s: %v, %v", method, got, about)
		}
		r.mu.Lock()
		request := r.request
		r.mu.Unlock()
		if request.Entry != "a.conf" || request.CommandLine != "quiet" || !slices.Equal(request.Initrds, []string{"/i", "/j"}) || !slices.Equal(request.Override, []string{"memory"}) {
			t.Errorf("%s was asked as %+v", method, request)
		}
	}
	var entries []map[string]dbus.Variant
	if err := call(conn, "ListEntries").Store(&entries); err != nil || len(entries) != 1 || entries[0]["ID"].Value() != "a.conf" || entries[0]["Default"].Value() != true {
		t.Errorf("entries %v, %v", entries, err)
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	_, r, _, conn := open(t)
	for _, c := range []struct {
		name  string
		value any
		want  string
	}{
		{"huh", true, "UnknownOption"},
		{"override", "memory", "UnknownOption"},
		{"override", []string{"everything"}, "BadRequest"},
		{"dry-run", "yes", "UnknownOption"},
		{"verify", uint32(1), "UnknownOption"},
	} {
		if err := call(conn, "LiveUpdate", map[string]dbus.Variant{c.name: dbus.MakeVariant(c.value)}).Err; errorName(err) != errorname.Prefix+c.want {
			t.Errorf("%s=%v: %v", c.name, c.value, err)
		}
	}
	if err := call(conn, "Load", "", map[string]dbus.Variant{"initrds": dbus.MakeVariant("/i")}).Err; errorName(err) != errorname.Prefix+"UnknownOption" {
		t.Errorf("a string for a list: %v", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.updates != 0 || r.request.Entry != "" {
		t.Errorf("%d updates, %+v", r.updates, r.request)
	}
}
