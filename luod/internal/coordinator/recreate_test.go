package coordinator

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

var (
	listening = recipe.Recipe{Socket: &recipe.Socket{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Address: "127.0.0.1", Port: 80, Backlog: 5}}
	logFile   = recipe.Recipe{File: &recipe.File{Path: "/var/log/x", UUID: "00", HandleType: 1, Handle: []byte{1}, Inode: 7, Size: 9, Offset: 9, Flags: os.O_WRONLY}}
)

// piece is what the program hands over of one entry, or forgoes.
type piece struct {
	stored storeview.Stored
	name   string
	open   func() (*os.File, error)
	forgo  string
}

func ofMemfd(t *testing.T, name string, f *os.File) piece {
	return piece{stored: stored(t, name, f), name: name, open: func() (*os.File, error) {
		return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY, 0)
	}}
}

func ofSocket(name string, d recipe.Recipe) piece {
	return piece{stored: storeview.Stored{Name: name, Inode: 7, Path: "socket:[7]", Type: unix.S_IFSOCK}, name: entryname.RecreateName(0, name), open: d.Memfd}
}

func ofFile(name string, d recipe.Recipe) piece {
	return piece{stored: storeview.Stored{Name: name, Inode: 8, Path: "/var/log/x", Type: unix.S_IFREG}, name: entryname.RecreateName(0, name), open: d.Memfd}
}

// keepsPieces has PID 1 keep them for unit, and the program hand over those of the
// kinds that it is told to, in the order in which they are here.
func (w *world) keepsPieces(unit string, native bool, pieces ...piece) {
	w.t.Helper()
	s := pid1.Store{Native: native}
	for _, p := range slices.Backward(pieces) {
		s.Entries = append(s.Entries, p.stored)
	}
	if w.stores == nil {
		w.stores = map[string]pid1.Store{}
	}
	w.stores[unit] = s
	others := w.adopting
	w.adopting = func(caller string, args []string) error {
		for _, arg := range args {
			name, list, given := strings.Cut(arg, "=")
			if name != unit {
				if others != nil {
					if err := others(caller, []string{arg}); err != nil {
						return err
					}
				}
				continue
			}
			kinds := []string{"memfds"}
			if given {
				kinds = strings.Split(list, ",")
			}
			for _, p := range pieces {
				kind := "memfds"
				if !p.stored.Memfd {
					kind, _ = p.stored.Recreatable()
				}
				if !slices.Contains(kinds, kind) {
					continue
				}
				if p.forgo != "" {
					if err := w.c.Forgo(ctx, caller, unit, []string{p.stored.Name}, []string{p.forgo}); err != nil {
						return err
					}
					continue
				}
				f, err := p.open()
				if err != nil {
					return err
				}
				if err := w.c.Adopt(ctx, caller, unit, []string{p.name}, []*os.File{f}); err != nil {
					f.Close()
					return err
				}
			}
		}
		return nil
	}
}

// gets compares what a unit's start is given, and has it say that it has it.
func (w *world) gets(unit string, names ...string) holdings.Fetch {
	w.t.Helper()
	fetch, err := w.c.Reissue(ctx, unit)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(fetch.Close)
	if !slices.Equal(fetch.Names, names) {
		w.t.Fatalf("%s gets %q and not %q", unit, fetch.Names, names)
	}
	return fetch
}

func (w *world) outcomes() map[string]string {
	outcomes := map[string]string{}
	for _, f := range w.readReport(0).Files {
		outcomes[f.Name] = f.Outcome
		if f.Size != 0 && f.Outcome != "preserved" || f.Size != 0 && f.Shared {
			w.t.Errorf("%s has the size %d", f.Name, f.Size)
		}
	}
	return outcomes
}

func TestWhatNoKernelCarriesIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nRecreate=files sockets\n")
	one := memfd(t, "one")
	defer one.Close()
	w.keepsPieces(a, false, ofMemfd(t, "one", one), ofSocket("listen", listening), ofFile("log", logFile))
	w.update()
	w.reboot()
	w.stores = nil
	names := []string{"store:0:one", "recreate:1:listen", "recreate:2:log"}
	fetch := w.gets(a, names...)
	if d, err := recipe.Read(fetch.Files[1]); err != nil || !d.Alike(listening) {
		t.Fatalf("%+v, %v", d, err)
	}
	if got := w.outcomes(); got["store:0:one"] != "preserved" || got["recreate:1:listen"] != "to be re-created" {
		t.Errorf("%v", got)
	}
	all, err := w.c.List(ctx)
	if err != nil || len(all) != 3 || all[0].Size == 0 || all[1].Size != 0 || all[1].Seals != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	// The descriptions are luod-reissue's.
	own, err := w.c.Retrieve(ctx, a, nil)
	if err != nil || !slices.Equal(own.Names, []string{"store:0:one"}) {
		t.Errorf("%q, %v", own.Names, err)
	}
	own.Close()
	if _, err := w.c.Retrieve(ctx, a, []string{"recreate:1:listen"}); err == nil {
		t.Error("a description is given to its unit")
	}
	w.running[a] = pid1.Running{State: "active", InvocationID: "1"}
	w.reissue(a)
	if got := w.outcomes(); got["store:0:one"] != "preserved" || got["recreate:1:listen"] != "re-created" || got["recreate:2:log"] != "re-created" {
		t.Errorf("%v", got)
	}
	// At once, while luod has not let go yet: each comes once.
	w.running[a] = pid1.Running{State: "activating"}
	w.adopting = nil
	w.keepsPieces(a, false, ofMemfd(t, "one", fetch.Files[0]), ofSocket("listen", listening), ofFile("log", logFile))
	w.update()
	w.reboot()
	w.gets(a, names...)
	// What can't be made is given up by the name that its unit knows.
	if err := w.c.Discard(ctx, a, []string{"listen"}); err != nil {
		t.Fatal(err)
	}
	w.gets(a, "store:0:one", "recreate:2:log")
	w.reissue(a)
	if got := w.outcomes(); got["recreate:1:listen"] != "to be re-created" || got["recreate:2:log"] != "re-created" {
		t.Errorf("%v", got)
	}
}

func TestWhatRecreateIsToldToLeave(t *testing.T) {
	pipe := piece{stored: storeview.Stored{Name: "pipe", Path: "pipe:[9]", Type: unix.S_IFIFO}}
	gone := piece{stored: storeview.Stored{Name: "gone", Path: "/x (deleted)", Type: unix.S_IFREG}}
	connected := ofSocket("peer", listening)
	connected.forgo = "socket:[7]: it is a connected socket"
	evil := ofFile("log", logFile)
	evil.name = entryname.RecreateName(0, "log")
	for name, c := range map[string]struct {
		declare string
		pieces  []piece
		why     []string
		not     string
	}{
		"nothing is told":   {"Preserve=fdstore\n", []piece{ofSocket("listen", listening), ofFile("log", logFile)}, []string{`"listen" (socket:[7])`, `"log" (/var/log/x)`, "Recreate=files sockets "}, ""},
		"only files":        {"Preserve=fdstore\nRecreate=files\n", []piece{ofSocket("listen", listening), ofFile("log", logFile)}, []string{`"listen" (socket:[7])`, "Recreate=files sockets "}, `"log"`},
		"a pipe":            {"Preserve=fdstore\nRecreate=files sockets\n", []piece{pipe}, []string{`"pipe" (pipe:[9]: it is of no kind`}, "Recreate="},
		"a deleted file":    {"Preserve=fdstore\nRecreate=files sockets\n", []piece{gone}, []string{"it is deleted"}, "Recreate="},
		"a connected one":   {"Preserve=fdstore\nRecreate=sockets\n", []piece{connected}, []string{`can't be made anew: "peer" (socket:[7]: it is a connected socket)`, "OnFailure=ignore"}, "AdoptFailed"},
		"PID 1 carries it":  {"Preserve=fdstore\n", nil, []string{`"listen" (socket:[7])`, "Recreate=sockets "}, ""},
		"a file for socket": {"Preserve=fdstore\nRecreate=sockets\n", []piece{{stored: connected.stored, name: "recreate:0:x", open: logFile.Memfd}}, []string{"has no Recreate=files"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(a, c.declare)
			if c.pieces == nil {
				w.keepsPieces(a, true, ofSocket("listen", listening))
			} else {
				w.keepsPieces(a, false, c.pieces...)
			}
			w.load()
			_, err := w.c.LiveUpdate(ctx, record.Options{})
			if err == nil {
				t.Fatal("it was begun")
			}
			for _, why := range c.why {
				if !strings.Contains(err.Error(), why) {
					t.Errorf("%v: not %s", err, why)
				}
			}
			if c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%v", err)
			}
			w.until(phase.Idle)
			if len(w.halted) > 0 {
				t.Errorf("%q were stopped", w.halted)
			}
		})
	}
}

func TestAnOptionalConnectionIsLeftBehind(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nRecreate=sockets\nOnFailure=ignore\n")
	connected := ofSocket("peer", listening)
	connected.forgo = "socket:[7]: it is a connected socket"
	w.keepsPieces(a, false, connected, ofSocket("listen", listening))
	w.update()
	w.reboot()
	if s := w.status(); len(s.LeftBehind) != 1 || !strings.Contains(s.LeftBehind[0].Reason, "connected") {
		t.Fatalf("%+v", s)
	}
	w.gets(a, "recreate:0:listen")
}

// Of a store that PID 1 carries, luod takes only what PID 1 would lose.
func TestPID1KeepsItsMemfds(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nRecreate=sockets\n")
	one := memfd(t, "one")
	defer one.Close()
	w.keepsPieces(a, true, ofMemfd(t, "one", one), ofSocket("listen", listening))
	w.update()
	w.reboot()
	w.gets(a, "recreate:0:listen")

	w = newWorld(t)
	w.declare(a, "Preserve=fdstore\nOnFailure=ignore\n")
	w.keepsPieces(a, true, ofMemfd(t, "one", one), ofSocket("listen", listening))
	w.update()
	w.reboot()
	if s := w.status(); len(s.LeftBehind) != 1 || !strings.Contains(s.LeftBehind[0].Reason, "socket:[7]") {
		t.Fatalf("%+v", s)
	}
}

func TestOneMemfdSeveralTimes(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	one, two := memfd(t, "one"), memfd(t, "two")
	defer one.Close()
	defer two.Close()
	again := func(name string, offset int64) piece {
		p := ofMemfd(t, name, one)
		open := p.open
		p.open = func() (*os.File, error) {
			f, err := open()
			if err == nil {
				_, err = f.Seek(offset, 0)
			}
			return f, err
		}
		return p
	}
	names := []string{"store:0:one", "store:1:two", "same:2:one", "same:3:other"}
	w.keepsPieces(a, false, again("one", 0), ofMemfd(t, "two", two), again("one", 1), again("other", 2))
	w.update()
	w.reboot()
	fetch := w.gets(a, names...)
	for i, offset := range map[int]int64{2: 1, 3: 2} {
		d, err := recipe.Read(fetch.Files[i])
		if err != nil || d.Same == nil || *d.Same != (recipe.Same{Of: "store:0:one", Flags: os.O_RDONLY, Offset: offset}) {
			t.Errorf("%+v, %v", d, err)
		}
	}
	if got := w.outcomes(); got["same:2:one"] != "preserved" {
		t.Errorf("%v", got)
	}
	// The unit has them and luod has not let go: they come once.
	w.running[a] = pid1.Running{State: "activating"}
	w.reissue(a)
	one = fetch.Files[0]
	w.adopting = nil
	w.keepsPieces(a, false, again("one", 0), ofMemfd(t, "two", fetch.Files[1]), again("one", 1), again("other", 2), again("other", 2))
	w.update()
	w.reboot()
	w.gets(a, append(names, "same:0:other")...)
	w.reissue(a)
	w.running[a] = pid1.Running{State: "active", InvocationID: "1"}
	w.clock.advance(10 * time.Second)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 0 {
		t.Errorf("luod still holds %+v, %v", own, err)
	}
}

func TestAMemfdOfTwoUnitsIsRefused(t *testing.T) {
	one := memfd(t, "one")
	defer one.Close()
	for name, share := range map[string]func(w *world){
		"two stores": func(w *world) {
			w.declare(b, "Preserve=fdstore\nOnFailure=ignore\n")
			w.keepsPieces(b, false, ofMemfd(t, "two", one))
		},
		"two stores, one of which PID 1 carries": func(w *world) {
			w.declare(b, "Preserve=fdstore\n")
			w.keepsPieces(b, true, ofMemfd(t, "two", one))
		},
		"a store and luod": func(w *world) {
			f, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", one.Fd()), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.c.Preserve(ctx, b, []string{"two"}, []*os.File{f}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.declare(a, "Preserve=fdstore\n")
			w.keepsPieces(a, false, ofMemfd(t, "one", one))
			share(w)
			w.load()
			for _, options := range []record.Options{{DryRun: true}, {}} {
				_, err := w.c.LiveUpdate(ctx, options)
				w.expectFault(err, "FileInUse")
				for _, text := range []string{a, b, `"one"`, `"two"`} {
					if !strings.Contains(err.Error(), text) {
						t.Errorf("%v: not %s", err, text)
					}
				}
			}
			w.until(phase.Idle)
		})
	}
}

// What only one of them had when PID 1 was asked both have when it is copied.
func TestAMemfdThatComesToTwoUnitsIsRefused(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\n")
	w.declare(b, "Preserve=fdstore\n")
	one, two := memfd(t, "one"), memfd(t, "two")
	defer one.Close()
	defer two.Close()
	w.keepsPieces(a, false, ofMemfd(t, "one", one))
	p := ofMemfd(t, "two", two)
	p.open = ofMemfd(t, "one", one).open
	w.keepsPieces(b, false, p)
	w.load()
	_, err := w.c.LiveUpdate(ctx, record.Options{})
	if err == nil || !strings.Contains(err.Error(), "has the same memfd") {
		t.Errorf("got %v", err)
	}
	w.until(phase.Idle)
}

func TestOnlyTheProgramMayDescribe(t *testing.T) {
	w := newWorld(t)
	w.declare(a, "Preserve=fdstore\nRecreate=sockets\n")
	w.keepsPieces(a, false, ofSocket("listen", listening))
	good := w.adopting
	socket, err := listening.Memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	file, err := logFile.Memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	same, err := recipe.Recipe{Same: &recipe.Same{Of: "x"}}.Memfd()
	if err != nil {
		t.Fatal(err)
	}
	defer same.Close()
	plain := memfd(t, `{"version":1}`)
	defer plain.Close()
	w.adopting = func(caller string, args []string) error {
		for name, f := range map[string]*os.File{
			"recreate:0:x": plain, "recreate:1:x": same, "recreate:2:x": file, "recreate:0:x:y": socket, "recreate:0:": socket,
			"same:0:x": same, "store:0:x": plain, "x:y": plain, "": plain, "recreate:": socket,
		} {
			if err := w.c.Adopt(ctx, caller, a, []string{name}, []*os.File{f}); err == nil {
				t.Errorf("%q was taken", name)
			}
		}
		w.expectFault(w.c.Adopt(ctx, b, a, []string{"recreate:0:x"}, []*os.File{socket}), "NotPreparing")
		w.expectFault(w.c.Forgo(ctx, b, a, []string{"x"}, []string{"y"}), "NotPreparing")
		w.expectFault(w.c.Forgo(ctx, caller, a, []string{"x"}, nil), "BadRequest")
		return good(caller, args)
	}
	w.update()
	w.reboot()
	w.gets(a, "recreate:0:listen")
	for _, name := range []string{"recreate:0:x", "same:0:x"} {
		if err := w.c.Preserve(ctx, b, []string{name}, []*os.File{plain}); err == nil {
			t.Errorf("a service may use %s", name)
		}
	}
}
