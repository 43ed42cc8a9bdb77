package vmtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

// systemd 252 is the oldest that luod works on: the D-Bus door, luod-reissue, and a
// luod that outlives the shutdown by its name alone. What 252 can't do it says.
func TestTheOldestSystemd(t *testing.T) {
	repeats(t)
	r := start(t, lab.Bookworm, false, 0)
	if text := r.Sh(t, "systemctl --version | head -n 1"); !strings.HasPrefix(text, "systemd 252") {
		t.Fatalf("it is %s", text)
	}
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	walk(t, r, 3, r.Parts.Newer, r.Parts.Older)
	// Its fd stores can't be asked for.
	r.Sh(t, "luoctl enable store-c; systemctl start store-c")
	check(t, r.Load(t.Context(), r.Parts.Newer))
	refusedUpdate(t, r, "luoctl live-update", "fd store of store-c.service")
	r.Sh(t, "systemctl is-active -q store-c")
}
