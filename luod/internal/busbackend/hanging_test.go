package busbackend

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/deadfs"
	"github.com/liveupdate/luod/luod/internal/callers"
)

// Whoever has a FUSE server of its own can answer the bus and leave luod waiting. Neither
// the caller's refusal nor anybody else's call waits with it.
func TestADeadFileSystemHoldsNobodyUp(t *testing.T) {
	b, r, d, other := open(t)
	good := memfd(t, "x")
	for what, flags := range map[string]int{
		"a file":               unix.O_RDWR,
		"one that is polled":   unix.O_RDWR | unix.O_NONBLOCK,
		"one opened as a path": unix.O_PATH,
	} {
		for name, c := range map[string]struct {
			noUnit error
			method string
			args   func(dead dbus.UnixFD) []any
			want   string
		}{
			"handed over": {nil, "Preserve", func(dead dbus.UnixFD) []any {
				return []any{[]handed{{"good", dbus.UnixFD(good.Fd())}, {"dead", dead}}, none}
			}, `file descriptor 1 of the call ("dead") can't be preserved: it `},
			"handed over by who has no unit": {callers.ErrNoUnit, "Preserve", func(dead dbus.UnixFD) []any {
				return []any{[]handed{{"dead", dead}}, none}
			}, callers.ErrNoUnit.Error()},
			"where none belongs": {nil, "ListNames", func(dead dbus.UnixFD) []any { return []any{dead} }, "takes arguments of the types"},
			"among the options": {nil, "Preserve", func(dead dbus.UnixFD) []any {
				return []any{[]handed{{"good", dbus.UnixFD(good.Fd())}}, map[string]dbus.Variant{"a": dbus.MakeVariant(dead)}}
			}, "unknown option"},
		} {
			t.Run(what+", "+name, func(t *testing.T) {
				fs := deadfs.Mount(t)
				dead := fs.Open(t, flags)
				client := b.client()
				defer client.Close()
				for _, conn := range []*dbus.Conn{client, other} { // known to luod from then on
					if err := call(conn, "ListNames").Err; err != nil {
						t.Fatal(err)
					}
				}
				r.mu.Lock()
				r.noUnit = c.noUnit
				r.mu.Unlock()
				before := openFDs(t)
				fs.Die(b.command.Process.Pid)
				start := time.Now()
				err := call(client, c.method, c.args(dbus.UnixFD(dead))...).Err
				if err == nil || !strings.Contains(err.Error(), c.want) || time.Since(start) > 5*time.Second {
					t.Fatalf("got %v after %s, want %q", err, time.Since(start), c.want)
				}
				r.mu.Lock()
				r.noUnit = nil
				r.mu.Unlock()
				for _, conn := range []*dbus.Conn{client, other} {
					if err := call(conn, "ListNames").Err; err != nil {
						t.Errorf("the next call: %v", err)
					}
				}
				if flags != unix.O_PATH {
					fs.WaitAsked(t, "FLUSH") // it is being closed, which asks
				}
				// Once by each of the two that had it.
				if asked := fs.Asked(); len(asked) > 2 || slices.ContainsFunc(asked, func(what string) bool { return what != "FLUSH" }) {
					t.Errorf("the file system was asked %q", asked)
				}
				fs.LetGo()
				if !soon(func() bool { return d.Bin.Open() == 0 && openFDs(t) <= before }) {
					t.Errorf("%d file descriptors before, %d after, %d to be closed", before, openFDs(t), d.Bin.Open())
				}
			})
		}
	}
}
