package coordinator

import (
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/storeback"
)

// puts has PID 1 take what a unit's start pushes into its store, but for what there is
// no room for (max; 0 is room for any).
func (w *world) puts(unit string, names []string, files []*os.File, max int) {
	w.t.Helper()
	var s pid1.Store
	for i, name := range names {
		if _, packed := entryname.Directory(name); packed || max > 0 && len(s.Entries) == max {
			continue
		}
		plain := entryname.PlainName(name)
		e := stored(w.t, plain, files[i])
		switch {
		case entryname.Recreated(name):
			e = storeview.Stored{Name: plain, Inode: 7, Path: "socket:[7]", Type: unix.S_IFSOCK}
		case entryname.Same(name):
			d, err := recipe.Read(files[i])
			if err != nil {
				w.t.Fatal(err)
			}
			e = stored(w.t, plain, files[slices.Index(names, d.Same.Of)])
		}
		s.Entries = append([]storeview.Stored{e}, s.Entries...)
	}
	s.Count = uint32(len(s.Entries))
	if w.stores == nil {
		w.stores = map[string]pid1.Store{}
	}
	w.stores[unit] = s
}

// reissue is what luod-reissue does before a unit starts.
func (w *world) reissue(unit string) {
	w.t.Helper()
	fetch, err := w.c.Reissue(ctx, unit)
	if err != nil {
		w.t.Fatal(err)
	}
	defer fetch.Close()
	w.puts(unit, fetch.Names, fetch.Files, 0)
	if err := w.c.Fetched(ctx, unit, fetch.Names); err != nil {
		w.t.Fatal(err)
	}
}

// However often a service asks, luod looks into its store once in a while only.
func TestManyCallsAreOneLook(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.keeps(a, 2)
	w.update()
	w.reboot()
	w.stores = nil
	w.running[a] = pid1.Running{State: "activating"}
	for range 50 {
		if err := w.c.Fetched(ctx, a, nil); err != nil {
			t.Fatal(err)
		}
	}
	looks := 0
	w.looked = func() { looks++ }
	w.clock.advance(3 * storeback.Interval)
	w.status()
	if looks == 0 || looks > 4 {
		t.Errorf("it looked %d times in 3 s", looks)
	}
	w.reissue(a)
	w.running[a] = pid1.Running{State: "active", InvocationID: "1"}
	w.clock.advance(3 * storeback.Interval)
	if got := w.names(a); len(got) != 0 {
		t.Errorf("luod still holds %q", got)
	}
}
