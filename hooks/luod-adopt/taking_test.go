package main

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
)

func TestWhatIsTakenOver(t *testing.T) {
	memfd := storeview.Stored{Memfd: true, Type: unix.S_IFREG, Path: "/memfd:x (deleted)"}
	log := storeview.Stored{Type: unix.S_IFREG, Path: "/var/log/x"}
	gone := storeview.Stored{Type: unix.S_IFREG, Path: "/var/log/x (deleted)"}
	socket := storeview.Stored{Type: unix.S_IFSOCK, Path: "socket:[7]"}
	pipe := storeview.Stored{Type: unix.S_IFIFO, Path: "pipe:[7]"}
	all := []storeview.Stored{memfd, log, gone, socket, pipe}
	for arg, want := range map[string][]bool{
		"a.service":                      {true, false, false, false, false},
		"a.service=memfds":               {true, false, false, false, false},
		"a.service=memfds,files":         {true, true, false, false, false},
		"a.service=sockets":              {false, false, false, true, false},
		"a.service=memfds,files,sockets": {true, true, false, true, false},
	} {
		got, err := parseTaking(arg)
		if err != nil || got.unit != "a.service" {
			t.Fatalf("%s: %+v, %v", arg, got, err)
		}
		for i, s := range all {
			if got.wants(s) != want[i] {
				t.Errorf("%s: %s is taken over: %t", arg, s.Path, !want[i])
			}
		}
	}
	for _, arg := range []string{"a.service=", "a.service=pipes", "a.service=files,,"} {
		if _, err := parseTaking(arg); err == nil {
			t.Errorf("%s is understood", arg)
		}
	}
}
