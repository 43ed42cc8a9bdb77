package coordinator

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// keeps has PID 1 keep n memfds for unit, each called "stored", and the program
// copy them.
func (w *world) keeps(unit string, n int) {
	w.t.Helper()
	files := make([]*os.File, n)
	var s pid1.Store
	for i := range files {
		files[i] = memfd(w.t, fmt.Sprintf("%s/stored-%d", unit, i))
		w.t.Cleanup(func() { files[i].Close() })
		s.Entries = append(s.Entries, stored(w.t, "stored", files[i]))
	}
	w.stores = map[string]pid1.Store{unit: s}
	w.adopting = func(caller string, units []string) error {
		if !slices.Equal(units, []string{unit}) {
			return fmt.Errorf("asked for %q", units)
		}
		for _, f := range files {
			copied, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
			if err != nil {
				return err
			}
			if err := w.c.Adopt(ctx, caller, unit, []string{"stored"}, []*os.File{copied}); err != nil {
				copied.Close()
				return err
			}
		}
		return nil
	}
}

// stored is how PID 1 tells of f.
func stored(t *testing.T, name string, f *os.File) storeview.Stored {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	return storeview.Stored{Name: name, Device: st.Dev, Inode: st.Ino, Memfd: true, Type: unix.S_IFREG, Flags: unix.O_RDWR}
}

func TestFdStoresComeAlong(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.preserve(b, 1)
	w.keeps(a, 3)
	w.update()
	w.reboot()
	w.stores = nil
	w.expect(phase.Restoring, 1, a, b)
	w.fetch(b, 1)
	// The unit's start gets them by luod-reissue, and fails.
	for try := range 2 {
		fetch, err := w.c.Reissue(ctx, a)
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"store:0:stored", "store:1:stored", "store:2:stored"}; !slices.Equal(fetch.Names, want) {
			t.Fatalf("got %q", fetch.Names)
		}
		for i, f := range fetch.Files {
			text := make([]byte, 100)
			if n, _ := f.ReadAt(text, 0); string(text[:n]) != fmt.Sprintf("%s/stored-%d", a, i) {
				t.Errorf("%d has %q", i, text[:n])
			}
		}
		w.running[a] = pid1.Running{State: "activating"}
		// PID 1 closes what exceeds the limit, and says nothing.
		w.puts(a, fetch.Names, fetch.Files, 2)
		w.expectFault(w.c.Fetched(ctx, a, fetch.Names), "NotInStore")
		if s := w.status(); try == 0 && (s.Phase != phase.Restoring || !slices.Equal(s.Waiting, []string{a})) {
			t.Fatalf("%+v", s)
		}
		w.puts(a, fetch.Names, fetch.Files, 0)
		fetch.Close()
		if err := w.c.Fetched(ctx, a, fetch.Names); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(10 * time.Second)
		w.running[a] = pid1.Running{State: "failed"}
		w.stores = nil // PID 1 drops it
		w.clock.advance(10 * time.Second)
		w.expect(phase.Idle, 1)
	}
	// The third starts: luod is killed meanwhile and still lets go.
	w.running[a] = pid1.Running{State: "activating"}
	w.reissue(a)
	w.kill()
	w.start()
	w.clock.advance(3 * time.Second)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 3 {
		t.Fatalf("%v, %v", own, err)
	}
	w.running[a] = pid1.Running{State: "active", InvocationID: "1"}
	w.clock.advance(3 * time.Second)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 0 {
		t.Fatalf("luod still holds %v, %v", own, err)
	}
	// And again.
	w.keeps(a, 2)
	w.update()
	w.reboot()
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 2 {
		t.Fatalf("%v, %v", own, err)
	}
}

func TestWhatKeepsAFdStoreFromComingAlong(t *testing.T) {
	for name, c := range map[string]struct {
		declare string
		spoil   func(w *world)
		why     string
	}{
		"a socket": {"Preserve=fdstore\n", func(w *world) {
			s := w.stores[a]
			s.Entries = append(s.Entries, storeview.Stored{Name: "listen", Path: "socket:[7]"})
			w.stores[a] = s
		}, `"listen" (socket:[7])`},
		"the program fails": {"Preserve=fdstore\n", func(w *world) {
			w.adopting = func(string, []string) error { return errors.New("kernel.yama.ptrace_scope=3") }
		}, "ptrace_scope"},
		"one is missing": {"Preserve=fdstore\n", func(w *world) {
			s := w.stores[a]
			s.Entries = append(s.Entries, s.Entries[0])
			w.stores[a] = s
		}, "it has 3 entries, and 2 came"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(a, c.declare)
			w.preserve(b, 1)
			w.keeps(a, 2)
			c.spoil(w)
			w.load()
			for range 2 { // what other tests dropped
				runtime.GC()
				time.Sleep(20 * time.Millisecond)
			}
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
			before := openFDs(t)
			if _, err := w.c.LiveUpdate(ctx, record.Options{}); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Fatalf("got %v", err)
			}
			w.until(phase.Idle)
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

func TestAnOptionalSocketIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nOnFailure=ignore\n")
	w.keeps(a, 2)
	s := w.stores[a]
	s.Entries = append(s.Entries, storeview.Stored{Name: "listen", Path: "socket:[7]"})
	w.stores[a] = s
	// It is asked too, and is ready: the rest of what it has comes along.
	w.register(a, record.Registration{Optional: true})
	w.load()
	w.begin()
	w.ready(a)
	w.until(phase.Committed)
	w.reboot()
	if s := w.status(); len(s.LeftBehind) != 1 || !strings.Contains(s.LeftBehind[0].Reason, "socket:[7]") {
		t.Fatalf("%+v", s)
	}
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 2 {
		t.Fatalf("%v, %v", own, err)
	}
}

// Where PID 1 carries a store, luod takes no part; but a fast jump leaves PID 1 out.
func TestPID1sOwnAreLeftToIt(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.keeps(a, 2)
	s := w.stores[a]
	s.Native = true
	w.stores[a] = s
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); err != nil {
		t.Fatal(err)
	}
	w.until(phase.Committed)
	w.results <- errors.New("given up")
	w.until(phase.Idle)
	if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: true}); err != nil {
		t.Fatal(err)
	}
	w.reboot()
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 2 {
		t.Fatalf("%v, %v", own, err)
	}
}

func TestOnlyTheProgramMayHandStoresOver(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.keeps(a, 1)
	good := w.adopting
	f := memfd(t, "evil")
	defer f.Close()
	w.adopting = func(caller string, units []string) error {
		w.expectFault(w.c.Adopt(ctx, b, a, []string{"x"}, []*os.File{f}), "NotPreparing")
		w.expectFault(w.c.Adopt(ctx, caller, b, []string{"x"}, []*os.File{f}), "NotPreparing")
		w.expectFault(w.c.Adopt(ctx, caller, a, nil, []*os.File{f}), "BadRequest")
		return good(caller, units)
	}
	w.expectFault(w.c.Adopt(ctx, "", a, []string{"x"}, []*os.File{f}), "NotPreparing")
	w.update()
	w.expectFault(w.c.Adopt(ctx, "luod-adopt-1.service", a, []string{"x"}, []*os.File{f}), "NotPreparing")
	// Nor may a service give itself such a name.
	w.results <- errors.New("given up")
	w.until(phase.Idle)
	if err := w.c.Preserve(ctx, b, []string{"store:0:x"}, []*os.File{f}); err == nil {
		t.Error("a service may use luod's names")
	}
}

// What PID 1 keeps for a stopped unit is taken when it has stopped, with what the
// unit stored at the very end.
func TestWhatAUnitStoresWhileItStopsComesAlong(t *testing.T) {
	kept := func(w *world) {
		w.declare(a, "Preserve=fdstore\n")
		w.keeps(a, 2)
		full := w.stores[a]
		full.Kept = true
		w.stores[a] = pid1.Store{Kept: true}
		w.stopped = func() { w.stores = map[string]pid1.Store{a: full} }
		w.active = []string{a, d}
		good := w.adopting
		w.adopting = func(caller string, units []string) error {
			if slices.Contains(w.active, a) {
				return errors.New("it runs still")
			}
			return good(caller, units)
		}
	}
	for _, fast := range []bool{false, true} {
		w := newWorld(t)
		kept(w)
		w.load()
		if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: fast}); err != nil {
			t.Fatal(err)
		}
		w.until(phase.Committed)
		if !slices.Equal(slices.Compact(w.halted), []string{a}) {
			t.Errorf("stopped %q", w.halted)
		}
		w.reboot()
		if got := w.names(a); !slices.Equal(got, []string{"store:0:stored", "store:1:stored"}) {
			t.Fatalf("got %q", got)
		}
	}
	for name, spoil := range map[string]func(w *world){
		"it stores a socket at the end": func(w *world) {
			s := pid1.Store{Kept: true, Entries: []storeview.Stored{{Name: "listen", Path: "socket:[7]"}}}
			w.stopped = func() { w.stores = map[string]pid1.Store{a: s} }
		},
		"it does not stop": func(w *world) { w.stopErr = errors.New("it hangs") },
		"the jump fails":   func(w *world) { w.jumpErr = errors.New("no") },
		"luod is killed with the unit stopped": func(w *world) {
			w.adopting = func(string, []string) error {
				w.kill()
				w.start()
				return errors.New("luod is gone")
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			kept(w)
			spoil(w)
			w.load()
			if _, err := w.c.LiveUpdate(ctx, record.Options{}); err == nil {
				t.Fatal("it went through")
			}
			w.until(phase.Idle)
			w.runsAgain(a, d)
			w.clock.advance(3 * time.Second)
			w.status()
			if got := w.names(a); len(got) != 0 {
				t.Errorf("PID 1 has its store, and luod %q", got)
			}
			if out := w.kernel.Outgoing(); len(out) != 0 {
				t.Errorf("still preserved: %v", out)
			}
		})
	}
}

// A fast jump stops those whose store was taken over, too: they shall not be cut off
// in the middle of a write.
func TestAFastJumpStopsWhoseStoreComesAlong(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.keeps(a, 1)
	w.active = []string{a, d}
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{Fast: true}); err != nil {
		t.Fatal(err)
	}
	w.until(phase.Committed)
	if !slices.Equal(w.halted, []string{a}) {
		t.Errorf("stopped %q", w.halted)
	}
}
