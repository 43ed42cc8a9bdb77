package coordinator

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/report"
)

// accounts waits until nothing is report.Unknown for, and returns the report's outcomes
// by name.
func (w *world) accounts() map[string]string {
	w.t.Helper()
	outcomes := map[string]string{}
	if !soon(func() bool {
		text, err := w.c.Report(ctx, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		var r report.Report
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			w.t.Fatal(err)
		}
		clear(outcomes)
		open := false
		for _, f := range r.Files {
			outcomes[f.Name] += f.Outcome + " " + f.Carrier + ";"
			open = open || f.Outcome == report.Unknown
		}
		return !open
	}) {
		w.t.Fatal("something is never accounted for")
	}
	return outcomes
}

// What PID 1 carries is accounted for, entry by entry, also when luod is killed
// before it has looked.
func TestWhatPID1CarriesIsAccountedFor(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.preserve(b, 1)
	inode := uint64(0)
	entry := func(name string) storeview.Stored {
		inode++
		return storeview.Stored{Name: name, Memfd: true, Flags: unix.O_RDWR, Inode: inode}
	}
	held := memfd(t, "held")
	defer held.Close()
	inStore := stored(t, "held", held)
	copied, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", held.Fd()), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.c.Preserve(ctx, a, []string{"held"}, []*os.File{copied}); err != nil {
		t.Fatal(err)
	}
	w.stores = map[string]pid1.Store{a: {Native: true, Entries: []storeview.Stored{entry("x"), entry("x"), entry("y"), inStore, entry("z")}}}
	w.update()
	next := map[string]pid1.Store{a: {Native: true, Entries: []storeview.Stored{entry("z"), entry("x"), entry("new")}}}
	w.storesErr = errTest
	w.reboot()
	w.kill()
	w.stores, w.storesErr = next, nil
	w.start()
	got := w.accounts()
	want := map[string]string{"fd-0": "preserved ;", "held": "preserved ;", "x": "preserved PID 1;lost PID 1;", "y": "lost PID 1;", "z": "preserved PID 1;"}
	for name, outcome := range want {
		if got[name] != outcome {
			t.Errorf("%s: got %q, want %q", name, got[name], outcome)
		}
	}
	if s := w.status(); len(s.Lost) != 2 {
		t.Errorf("lost %v", s.Lost)
	}
}

// What PID 1 carries, and would not bring back as it is, is refused before anything
// happens, unless the unit takes it as it comes.
func TestWhatPID1WouldSpoilIsRefused(t *testing.T) {
	entry := func(name string, inode uint64, flags uint32) storeview.Stored {
		return storeview.Stored{Name: name, Memfd: true, Flags: flags, Inode: inode}
	}
	session := storeview.Stored{Name: "s", Path: "anon_inode:[luo_session]", Inode: 7}
	noexec := entry("n", 3, unix.O_RDWR)
	noexec.Mode = unix.S_IFREG | 0o666
	for name, c := range map[string]struct {
		entries []storeview.Stored
		why     string
		comes   string
	}{
		"one memfd twice":  {[]storeview.Stored{entry("x", 1, unix.O_RDWR), entry("z", 2, unix.O_RDWR), entry("y", 1, unix.O_RDONLY)}, `"y" (the memfd of "x" once more`, "x z"},
		"a read-only one":  {[]storeview.Stored{entry("x", 1, unix.O_RDONLY), entry("z", 2, unix.O_RDWR)}, `"x" (read-only`, "x z"},
		"a write-only one": {[]storeview.Stored{entry("x", 1, unix.O_WRONLY)}, `"x" (write-only`, "x"},
		"one of NOEXEC":    {[]storeview.Stored{noexec, entry("z", 2, unix.O_RDWR)}, `"n" (not executable, as with MFD_NOEXEC_SEAL`, "n z"},
		"all is well":      {[]storeview.Stored{entry("x", 1, unix.O_RDWR), session, session}, "", "x s s"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(a, "Preserve=fdstore\n")
			w.stores = map[string]pid1.Store{a: {Native: true, Entries: c.entries}}
			w.load()
			_, err := w.c.LiveUpdate(ctx, record.Options{})
			if c.why != "" {
				w.expectFault(err, "WouldNotSurvive")
				if !strings.Contains(err.Error(), c.why) || !strings.Contains(err.Error(), "FileDescriptorStorePreserve=restart") {
					t.Errorf("got %v", err)
				}
				w.declare(a, "Preserve=fdstore\nOnFailure=ignore\n")
				_, err = w.c.LiveUpdate(ctx, record.Options{})
			}
			if err != nil {
				t.Fatal(err)
			}
			w.reboot()
			if s := w.status(); len(s.Lost) != 0 || c.why != "" && (len(s.LeftBehind) != 1 || !strings.Contains(s.LeftBehind[0].Reason, c.why)) {
				t.Errorf("%+v", s)
			}
			text, err := w.c.Report(ctx, 0)
			if err != nil {
				t.Fatal(err)
			}
			for name := range strings.FieldsSeq(c.comes) {
				if !strings.Contains(text, fmt.Sprintf("%q", name)) {
					t.Errorf("%s is not in %s", name, text)
				}
			}
		})
	}
}
