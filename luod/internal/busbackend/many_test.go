package busbackend

import (
	"fmt"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
)

// A message with more descriptors than the bus lets one have would take luod-bus off it, with
// everybody's calls.
func TestMoreThanTheBusTakesIsRefused(t *testing.T) {
	b, _, _, conn := open(t)
	var names []string
	for range 3 {
		var fds []handed
		for range 16 {
			name := fmt.Sprint("fd-", len(names))
			names = append(names, name)
			fds = append(fds, handed{name, dbus.UnixFD(memfd(t, name).Fd())})
		}
		if err := call(conn, "Preserve", fds, none).Err; err != nil {
			t.Fatal(err)
		}
	}
	before := openFDs(t)
	for _, n := range []int{len(names), 17} {
		if err := call(conn, "Retrieve", names[:n]).Err; errorName(err) != errorname.Prefix+errorname.TooMany || !strings.Contains(err.Error(), "16") {
			t.Errorf("%d: %v", n, err)
		}
	}
	var got []handed
	if err := call(conn, "Retrieve", names[:16]).Store(&got); err != nil || len(got) != 16 {
		t.Errorf("%d, %v", len(got), err)
	}
	for _, one := range got {
		unix.Close(int(one.FD))
	}
	if !soon(func() bool { return openFDs(t) <= before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
	if n := strings.Count(b.log.String(), "on the bus"); n != 1 {
		t.Errorf("luod-bus was on the bus %d times", n)
	}
}
