package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// managed is a PID 1 that is no kinder than systemd, with services that have an fd store
// and are started as luod-reissue starts them.
type managed struct {
	*fakepid1.Manager
	w       *world
	version int
	units   []fakepid1.Unit
	// passed are what each service was passed at its last start.
	passed map[string][]string
}

func (m *managed) StartHolder(ctx context.Context) error { return m.w.StartHolder(ctx) }
func (m *managed) StopHolder(ctx context.Context) error  { return m.w.StopHolder(ctx) }

// manage has w run under a PID 1 of that version of systemd.
func (w *world) manage(version int) *managed {
	w.t.Helper()
	w.kill()
	w.m = &managed{w: w, version: version, passed: map[string][]string{}}
	w.m.boot()
	w.t.Cleanup(func() { w.m.Close() })
	w.start()
	return w.m
}

func (m *managed) boot() {
	m.Manager = fakepid1.New(m.version)
	m.Define(m.units...)
	m.Serve(adoptProgram, m.adopt)
}

// reboot is what is left of PID 1 in the next kernel: unit files.
func (m *managed) reboot() {
	m.Close()
	clear(m.passed)
	m.boot()
}

// adopt is luod-adopt.
func (m *managed) adopt(ctx context.Context, p pid1.Program) error {
	if p.Argv[1] == "--check-directories" {
		return m.w.checkErr
	}
	if p.Argv[1] == "--directories" {
		for _, arg := range p.Argv[2:] {
			unit, path, _ := strings.Cut(arg, "=")
			f := memfd(m.w.t, "tree of "+unit)
			if err := m.w.luod().Adopt(ctx, p.Unit, unit, []string{entryname.DirectoryName(path)}, []*os.File{f}); err != nil {
				f.Close()
				return err
			}
		}
		return nil
	}
	for _, unit := range p.Argv[1:] {
		entries := m.Descriptors(unit)
		slices.Reverse(entries) // the last is pushed first
		for i, e := range entries {
			if err := m.w.luod().Adopt(ctx, p.Unit, unit, []string{e.Name}, []*os.File{e.File}); err != nil {
				for _, e := range entries[i:] {
					e.File.Close()
				}
				return err
			}
		}
	}
	return nil
}

// reissue is luod-reissue, which asks again when luod is restarted meanwhile. An error
// keeps the unit from starting.
func (m *managed) reissue(p *fakepid1.Process) (err error) {
	soon(func() bool {
		err = m.putBack(p)
		return !errors.Is(err, state.ErrStopped)
	})
	return err
}

func (m *managed) putBack(p *fakepid1.Process) error {
	luod := m.w.luod()
	fetch, err := luod.Reissue(ctx, p.Unit)
	if err != nil {
		return err
	}
	defer fetch.Close()
	for i, name := range fetch.Names {
		f := fetch.Files[i]
		if _, packed := entryname.Directory(name); packed || !entryname.Adopted(name) {
			continue
		}
		if entryname.Same(name) {
			d, err := recipe.Read(f)
			if err != nil {
				return err
			}
			if f, err = os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", fetch.Files[slices.Index(fetch.Names, d.Same.Of)].Fd()), d.Same.Flags, 0); err != nil {
				return err
			}
			defer f.Close()
		}
		if err := p.Push(entryname.PlainName(name), f); err != nil {
			return err
		}
	}
	return luod.Fetched(ctx, p.Unit, fetch.Names)
}

// keeping defines a service that makes what is in its store at its first start.
func (m *managed) keeping(unit, declaration string, file fakepid1.Unit, make func(p *fakepid1.Process)) {
	m.w.declare(unit, declaration)
	file.Name, file.Files, file.StartPre = unit, []string{m.w.units[unit]}, m.reissue
	if file.StoreMax == 0 {
		file.StoreMax = 512
	}
	file.Start = func(p *fakepid1.Process) error {
		passed := m.told(p)
		if len(passed) == 0 {
			make(p)
			passed = m.told(p)
		}
		m.w.mu.Lock()
		defer m.w.mu.Unlock()
		m.passed[unit] = passed
		return nil
	}
	m.units = append(m.units, file)
	m.Define(file)
}

// told is what a service finds in $LISTEN_FDS: names, contents, access modes.
func (m *managed) told(p *fakepid1.Process) []string {
	var list []string
	for _, e := range p.Listen() {
		text := make([]byte, 100)
		n, _ := unix.Pread(int(e.File.Fd()), text, 0)
		flags, err := unix.FcntlInt(e.File.Fd(), unix.F_GETFL, 0)
		if err != nil {
			m.w.t.Error(err)
		}
		list = append(list, fmt.Sprintf("%s=%s/%d", e.Name, text[:n], flags&unix.O_ACCMODE))
		e.File.Close()
	}
	return list
}

// up starts what doesn't run, and returns what each of units has in its store, in the
// words of a service.
func (m *managed) up(units ...string) map[string][]string {
	m.w.t.Helper()
	if err := m.Start(ctx, units); err != nil {
		m.w.t.Fatal(err)
	}
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	has := map[string][]string{}
	for _, unit := range units {
		has[unit] = m.passed[unit]
		if got := len(m.Store(unit)); got != len(has[unit]) {
			m.w.t.Errorf("%s was passed %q, and %d are in its store", unit, has[unit], got)
		}
	}
	return has
}

// reopened is another open file description of f.
func reopened(t *testing.T, f *os.File, mode int) *os.File {
	t.Helper()
	again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), mode, 0)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// The units of a managed world, each with another kind of store.
const (
	ordinary  = "ordinary.service"  // what a stop drops, of two names, one twice, one read-only
	kept      = "kept.service"      // what PID 1 keeps
	replacing = "replacing.service" // what it replaces whenever it is stopped
	dependent = "dependent.service" // goes down with what is stopped first
	packing   = "packing.service"   // is stopped first, for its directory
	both      = "both.service"      // one memfd in the store and with luod too, of another name
	standing  = "standing.service"  // has nothing at stake
)

var everyStore = []string{both, dependent, kept, ordinary, packing, replacing}

func (m *managed) everyStore() {
	t := m.w.t
	push := func(p *fakepid1.Process, name string, f *os.File) {
		if err := p.Push(name, f); err != nil {
			t.Error(err)
		}
		f.Close()
	}
	m.keeping(ordinary, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		one, two := memfd(t, "one"), memfd(t, "two")
		push(p, "x", reopened(t, one, os.O_RDWR))
		push(p, "y", reopened(t, two, os.O_RDONLY))
		push(p, "x", reopened(t, one, os.O_RDONLY))
		one.Close()
		two.Close()
	})
	m.keeping(kept, "Preserve=fdstore\n", fakepid1.Unit{Preserve: "yes"}, func(p *fakepid1.Process) {
		push(p, "k1", memfd(t, "kept 1"))
		push(p, "k2", memfd(t, "kept 2"))
	})
	stops := 0
	m.keeping(replacing, "Preserve=fdstore\n", fakepid1.Unit{Preserve: "yes", Stop: func(p *fakepid1.Process) error {
		stops++
		if err := p.Remove("last"); err != nil {
			return err
		}
		push(p, "last", memfd(t, "stopped"))
		return nil
	}}, func(p *fakepid1.Process) { push(p, "last", memfd(t, "stopped")) })
	m.keeping(packing, "Preserve=fdstore\nDirectories=/run/x\n", fakepid1.Unit{}, func(p *fakepid1.Process) { push(p, "p", memfd(t, "packing")) })
	m.keeping(dependent, "Preserve=fdstore\n", fakepid1.Unit{Requires: []string{packing}, After: []string{packing}}, func(p *fakepid1.Process) { push(p, "d", memfd(t, "dependent")) })
	m.keeping(both, "Preserve=fdstore\n", fakepid1.Unit{}, func(p *fakepid1.Process) {
		f := memfd(t, "both")
		push(p, "in-store", reopened(t, f, os.O_RDONLY))
		if err := m.w.luod().Preserve(ctx, both, []string{"by-dbus"}, []*os.File{f}); err != nil {
			t.Error(err)
		}
	})
	m.units = append(m.units, fakepid1.Unit{Name: standing})
	m.Define(fakepid1.Unit{Name: standing})
	if err := m.Start(ctx, []string{standing}); err != nil {
		t.Fatal(err)
	}
}

// settledAll waits until luod has let go of what is in the stores.
func (m *managed) settledAll() {
	m.w.t.Helper()
	m.w.clock.advance(5 * time.Second)
	for _, unit := range everyStore {
		for _, name := range m.w.names(unit) {
			if entryname.Adopted(name) {
				m.w.t.Errorf("%s has its store, and luod still holds %q", unit, name)
			}
		}
	}
}

// waysBack are all the ways on which an update is taken back once stores were copied.
// Each begins it and returns when it is over.
var waysBack = map[string]struct {
	fast bool
	run  func(w *world) error
}{
	"the jump can't be begun":              {false, func(w *world) error { w.jumpErr = errTest; return w.tryUpdate(false) }},
	"the jump can't be begun, fast":        {true, func(w *world) error { w.jumpErr = errTest; return w.tryUpdate(true) }},
	"nobody else holds the sessions":       {false, func(w *world) error { w.holderErr = errTest; return w.tryUpdate(false) }},
	"a fast jump is refused":               {true, func(w *world) error { return w.given(true, func() { w.results <- errors.New("freeze /: EIO") }) }},
	"luod is killed after the fast commit": {true, func(w *world) error { return w.given(true, func() { w.kill(); w.start() }) }},
	"a shutdown is cancelled": {false, func(w *world) error {
		return w.given(false, func() { w.shutDown(); w.results <- errors.New("canceled") })
	}},
	"a shutdown is cancelled, luod killed":  {false, func(w *world) error { return w.given(false, func() { w.shutDown(); w.kill(); w.start() }) }},
	"who has to stop doesn't":               {true, func(w *world) error { w.m.FailNext("Stop", errTest); return w.tryUpdate(true) }},
	"it is cancelled while services stop":   {true, func(w *world) error { return w.whileStopping(func() { _ = w.c.Cancel(ctx, "no") }) }},
	"luod is killed while services stop":    {true, func(w *world) error { return w.whileStopping(func() { w.kill(); w.start() }) }},
	"packing fails":                         {false, func(w *world) error { w.kernel.FailNext(packRequest, unix.ENOMEM); return w.tryUpdate(false) }},
	"the directory can't be packed":         {false, func(w *world) error { return w.withoutDirectory(false) }},
	"luod is killed while directories pack": {false, func(w *world) error { return w.withoutDirectory(true) }},
}

func (w *world) tryUpdate(fast bool) error {
	_, err := w.c.LiveUpdate(ctx, record.Options{Fast: fast})
	return err
}

// given has an update committed, and then what.
func (w *world) given(fast bool, what func()) error {
	if err := w.tryUpdate(fast); err != nil {
		return err
	}
	what()
	return errTest
}

// shutDown is PID 1 on its way down, but for luod.
func (w *world) shutDown() {
	if err := w.m.Shutdown(ctx); err != nil {
		w.t.Error(err)
	}
}

// whileStopping runs what when the first service stops for a fast jump.
func (w *world) whileStopping(what func()) error {
	w.m.onStop(ordinary, what)
	return w.tryUpdate(true)
}

func (m *managed) onStop(unit string, what func()) {
	for _, u := range m.units {
		if u.Name == unit {
			u.Stop = func(*fakepid1.Process) error { what(); return nil }
			m.Define(u)
			m.Reload()
			m.Reload() // each turns the stores around
		}
	}
}

// onStart tells of each start of a unit.
func (m *managed) onStart(unit string, tell func(p *fakepid1.Process)) {
	i := slices.IndexFunc(m.units, func(u fakepid1.Unit) bool { return u.Name == unit })
	start := m.units[i].Start
	m.units[i].Start = func(p *fakepid1.Process) error { tell(p); return start(p) }
	m.Define(m.units[i])
}

func (w *world) withoutDirectory(killed bool) error {
	w.m.Serve(adoptProgram, func(ctx context.Context, p pid1.Program) error {
		if p.Argv[1] != "--directories" {
			return w.m.adopt(ctx, p)
		}
		if killed {
			w.kill()
			w.start()
		}
		return errTest
	})
	return w.tryUpdate(false)
}
