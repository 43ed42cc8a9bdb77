package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/report"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/state"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// world is a machine around a coordinator, with all that outlives a killed luod.
type world struct {
	t        *testing.T
	kernel   *luofake.Kernel
	store    *fakestore.Store
	record   string
	history  string
	settings settings.Settings
	asked    []loading.Request
	asking   func()
	answer   loading.Answer
	askError error
	line     string
	// booted is called when another kernel runs and luod doesn't yet.
	booted func()
	loaded bool
	// left is the kernel's count of loads, and answered is called after luod-kexec's
	// answer. foreign says that luod did not have done the last one.
	left      int
	foreign   bool
	answered  func()
	survive   error
	jumpErr   error
	results   chan error
	jumping   bool
	cMu       sync.Mutex
	c         *Coordinator
	clock     *fakeClock
	signals   []Signal
	running   map[string]pid1.Running
	units     map[string]string // paths of unit files
	mu        sync.Mutex        // of what follows
	locks     []inhibitors.Inhibitor
	way       pid1.Way
	active    []string // what runs
	stopErr   error
	halted    []string // what was stopped
	stopped   func()   // what happens then
	hooks     bool
	stores    map[string]pid1.Store
	storesErr error
	reissues  map[string]pid1.Reissue // of those that luoctl enable did not set up
	adopting  func(caller string, units []string) error
	pinned    []string
	looked    func()         // told of each Look
	m         *managed       // what stands in for the methods of Units, unless it is nil
	holding   holdings.Fetch // the sessions that a second process holds
	holderErr error
	checkErr  error    // what luod-adopt says of directories before anything is stopped
	ran       []string // the hooks that were run
	veto      error
	walls     []string
}

// Services are those with a unit file in units.
func (w *world) Services(context.Context, string) ([]pid1.Service, error) {
	var list []pid1.Service
	for unit, path := range w.units {
		list = append(list, pid1.Service{Name: unit, Files: []string{path}})
	}
	return list, nil
}

// Known knows those with a unit file, the others not.
func (w *world) Known(_ context.Context, unit string) (pid1.Known, error) {
	k := pid1.Known{Service: pid1.Service{Name: unit}}
	if path := w.units[unit]; path != "" {
		k.Files, k.Loaded, k.Names = []string{path}, true, []string{unit}
	}
	return k, nil
}

// Look tells of running, and of everybody else that it has always run.
func (w *world) Look(_ context.Context, units []string) (map[string]pid1.Running, error) {
	if w.looked != nil {
		w.looked()
	}
	running := map[string]pid1.Running{}
	for _, unit := range units {
		if r, ok := w.running[unit]; ok {
			running[unit] = r
		} else {
			running[unit] = pid1.Running{State: "active", InvocationID: "1"}
		}
	}
	return running, nil
}

// Run is the hooks'.
func (w *world) Run(_ context.Context, p pid1.Program) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p.Argv[0] == adoptProgram && p.Argv[1] == "--check-directories" {
		return w.checkErr
	}
	if p.Argv[0] == adoptProgram {
		return w.adopting(p.Unit, p.Argv[1:])
	}
	phase := strings.Join(p.Argv[2:], " ")
	w.ran = append(w.ran, phase)
	if strings.HasPrefix(phase, "prepare") {
		return w.veto
	}
	return nil
}

var errTest = errors.New("a test wants it")

func (w *world) Stores(_ context.Context, units []string) (map[string]pid1.Store, error) {
	if w.storesErr != nil {
		return nil, w.storesErr
	}
	stores := map[string]pid1.Store{}
	for _, unit := range units {
		if s, is := w.stores[unit]; is {
			stores[unit] = s
		}
	}
	return stores, nil
}

// Reissues tells of all units that luod-reissue works, but for those in reissues.
func (w *world) Reissues(_ context.Context, units []string) (map[string]pid1.Reissue, error) {
	reissues := map[string]pid1.Reissue{}
	for _, unit := range units {
		reissues[unit] = pid1.Reissue{Runs: true, NotifyAccess: "exec", StoreMax: 512}
		if r, is := w.reissues[unit]; is {
			reissues[unit] = r
		}
	}
	return reissues, nil
}

func (w *world) Active(_ context.Context, units []string) ([]string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.active), func(u string) bool { return !slices.Contains(units, u) }), nil
}

func (w *world) Pin(_ context.Context, units []string) error { w.pinned = units; return nil }
func (w *world) Unpin(context.Context) error                 { w.pinned = nil; return nil }

// StartHolder is what luod-hold does.
func (w *world) StartHolder(ctx context.Context) error {
	if w.holderErr != nil {
		return w.holderErr
	}
	fetch, err := w.c.Sessions(ctx, pid1.HolderUnit)
	if err == nil {
		w.holding.Close()
		w.holding = fetch
	}
	return err
}

func (w *world) StopHolder(context.Context) error {
	w.holding.Close()
	w.holding = holdings.Fetch{}
	return nil
}

func (w *world) Stop(_ context.Context, units []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.halted = append(w.halted, units...)
	w.active = slices.DeleteFunc(w.active, func(u string) bool { return slices.Contains(units, u) })
	if w.stopped != nil {
		w.stopped()
	}
	return w.stopErr
}

func (w *world) Start(_ context.Context, units []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, u := range units {
		if !slices.Contains(w.active, u) {
			w.active = append(w.active, u)
		}
	}
	return nil
}

// Ask answers as luod-kexec would that finds nothing wrong, unless the test says
// otherwise.
func (w *world) Ask(_ context.Context, r loading.Request) (loading.Answer, error) {
	w.asked = append(w.asked, r)
	if w.asking != nil {
		w.asking()
	}
	if w.answer.Error != "" || w.askError != nil {
		return w.answer, w.askError
	}
	target := kexec.Target{Kernel: r.Entry, Initrds: r.Initrds, CommandLine: fmt.Sprintf("%s luod.generation=%d", r.CommandLine, r.Generation)}
	if r.Again != nil {
		target = r.Again.Target
	}
	report := &verdict.Report{Target: target, Release: "7.3.4", Digest: "d"}
	answer := loading.Answer{Report: report}
	if r.Verb == loading.Load {
		w.mu.Lock()
		if r.Again == nil || r.Again.Proof == nil || r.Again.Proof.Left != w.left {
			w.loaded, w.foreign = true, false
			w.left--
		}
		answer.Proof = &loading.Proof{Left: w.left}
		w.mu.Unlock()
		report.Results = []verdict.Result{{Name: "kernel-image", Verdict: verdict.OK}}
	}
	if w.answered != nil {
		w.answered()
	}
	return answer, nil
}

// loadForeign is somebody else's load, or unload.
func (w *world) loadForeign(loaded bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded, w.foreign = loaded, true
	w.left--
}

func (w *world) Unload() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loaded = false
	w.left--
	return nil
}

func (w *world) Loaded() (bool, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.loaded, nil
}

func (w *world) Left() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.left, nil
}

func (w *world) Hold() func()                          { return func() {} }
func (w *world) Check(context.Context, bool) error     { return w.survive }
func (w *world) Jumping(context.Context) (bool, error) { return w.jumping, nil }
func (w *world) Jump(_ context.Context, way pid1.Way) (<-chan error, error) {
	w.way = way
	if w.jumpErr != nil {
		return nil, w.jumpErr
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.foreign || !w.loaded {
		w.t.Error("it jumps into a kernel that somebody else has loaded, or none")
	}
	w.results = make(chan error, 1)
	return w.results, nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, kernel: luofake.New(), store: fakestore.New(), record: filepath.Join(t.TempDir(), "record.json"), clock: newFakeClock(), history: t.TempDir(), settings: settings.Default(), running: map[string]pid1.Running{}}
	w.start()
	t.Cleanup(func() {
		w.kill()
		w.holding.Close()
		w.store.Close()
		w.kernel.Incoming() // lets the fake notice the last closes
	})
	return w
}

// start starts luod on what is left.
func (w *world) start() {
	w.t.Helper()
	c, err := Start(context.Background(), Config{
		Kernel: w.kernel.LUO(), Store: w.store, Loader: w, Jumper: w, Record: w.record, History: report.History(w.history), Settings: w.settings,
		Machine: holdings.Machine{Release: "7.2", BootID: "b", CommandLine: w.line, Booted: time.Now},
		Units:   w.manager(), Inhibitors: func(context.Context) ([]inhibitors.Inhibitor, error) { return w.inhibitors() }, Clock: w.clock, Announce: func(s Signal) { w.signals = append(w.signals, s) },
		Hooks: func() bool { return w.hooks }, Wall: func(text string) { w.mu.Lock(); defer w.mu.Unlock(); w.walls = append(w.walls, text) },
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}, w.store.Listen())
	if err != nil {
		w.t.Fatal(err)
	}
	w.cMu.Lock()
	defer w.cMu.Unlock()
	w.c = c
}

// luod is the one that runs, for those who ask from elsewhere than the test.
func (w *world) luod() *Coordinator {
	w.cMu.Lock()
	defer w.cMu.Unlock()
	return w.c
}

func (w *world) manager() Units {
	if w.m != nil {
		return w.m
	}
	return w
}

// kill ends luod as SIGKILL does: its descriptors go, and nothing else happens.
func (w *world) kill() { w.c.Close() }

// reboot is a kexec: another kernel, another /run, nothing in the fd store.
func (w *world) reboot() {
	w.t.Helper()
	next, err := w.kernel.Kexec()
	if err != nil {
		w.t.Fatal(err)
	}
	w.kill()
	w.holding.Close()
	w.store.Close()
	w.holding, w.kernel, w.store, w.loaded = holdings.Fetch{}, next, fakestore.New(), false
	if w.m != nil {
		w.m.reboot()
	}
	if w.booted != nil {
		w.booted()
	}
	w.record = filepath.Join(w.t.TempDir(), "record.json")
	w.start()
}

func memfd(t *testing.T, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f
}

var ctx = context.Background()

// preserve hands over n files of unit with contents that name it.
func (w *world) preserve(unit string, n int) {
	w.t.Helper()
	var names []string
	var files []*os.File
	for i := range n {
		name := fmt.Sprintf("fd-%d", i)
		names, files = append(names, name), append(files, memfd(w.t, unit+"/"+name))
	}
	if err := w.c.Preserve(ctx, unit, names, files); err != nil {
		w.t.Fatal(err)
	}
}

// fetch retrieves all of unit, checks that there are n with the right contents,
// and says that they were fetched.
func (w *world) fetch(unit string, n int) {
	w.t.Helper()
	w.look(unit, n)
	fetch, err := w.c.Retrieve(ctx, unit, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	fetch.Close()
	if err := w.c.Fetched(ctx, unit, fetch.Names); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) look(unit string, n int) {
	w.t.Helper()
	fetch, err := w.c.Retrieve(ctx, unit, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer fetch.Close()
	if len(fetch.Files) != n {
		w.t.Fatalf("%s has %d files, want %d", unit, len(fetch.Files), n)
	}
	for i, f := range fetch.Files {
		b := make([]byte, 100)
		read, _ := f.ReadAt(b, 0)
		if want := unit + "/" + fetch.Names[i]; string(b[:read]) != want || fetch.Names[i] != fmt.Sprintf("fd-%d", i) {
			w.t.Fatalf("%s: file %d is %q with %q", unit, i, fetch.Names[i], b[:read])
		}
	}
}

func (w *world) load() {
	w.t.Helper()
	if _, _, err := w.c.Load(ctx, nextkernel.Request{Entry: "/boot/vmlinuz", CommandLine: "root=/dev/vda"}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) update() {
	w.t.Helper()
	w.load()
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) status() Status {
	w.t.Helper()
	s, err := w.c.Status(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) expect(want phase.Phase, generation uint64, waiting ...string) Status {
	w.t.Helper()
	s := w.status()
	if s.Phase != want || s.Generation != generation || !slices.Equal(s.Waiting, append([]string{}, waiting...)) || len(s.Lost) != 0 || s.Degraded != "" {
		w.t.Fatalf("want %s in generation %d with %v waiting, have %+v", want, generation, waiting, s)
	}
	return s
}

func TestEverythingComesThroughTwoGenerations(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 250) // three sessions
	w.preserve("b.service", 1)
	for generation := range uint64(2) {
		w.update()
		w.expect(phase.Committed, generation)
		w.reboot()
		w.expect(phase.Restoring, generation+1, "a.service", "b.service")
		w.fetch("b.service", 1)
		w.expect(phase.Restoring, generation+1, "a.service")
		w.fetch("a.service", 250)
		s := w.expect(phase.Idle, generation+1)
		if in := w.kernel.Incoming(); len(in) != 0 {
			t.Fatalf("still open: %v", in)
		}
		for _, name := range []string{"trigger", "packed", "kernel started", "restored", "done"} {
			if !slices.ContainsFunc(s.TimeLine, func(m manifest.Mark) bool { return m.Name == name }) {
				t.Errorf("the time line lacks %q: %+v", name, s.TimeLine)
			}
		}
		for _, name := range w.store.Names() {
			if !vault.IsEntry(name) {
				t.Errorf("%s is left in the fd store", name)
			}
		}
	}
}

func TestARefusalChangesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*world)
		fault string
	}{
		"no kernel is loaded":                {func(w *world) { w.loaded = false }, "NoKernelLoaded"},
		"another loaded it":                  {func(w *world) { w.c.Rec.Loaded = nil }, "ForeignKernel"},
		"it would not survive":               {func(w *world) { w.survive = errors.New("dracut") }, "WouldNotSurvive"},
		"no LUO":                             {func(w *world) { w.kernel.SetPresent(false) }, "NotSupported"},
		"another is loaded after the checks": {func(w *world) { w.answered = func() { w.loadForeign(true) } }, "ForeignKernel"},
		"PID 1 refuses":                      {func(w *world) { w.jumpErr = errors.New("no") }, "JumpFailed"},
		"a file is refused":                  {func(w *world) { w.kernel.FailNext(luofake.PreserveFD, unix.ENOMEM) }, "PackFailed"},
		"a session is refused":               {func(w *world) { w.kernel.FailNext(luofake.CreateSession, unix.ENOMEM) }, "PackFailed"},
		"a check fails": {func(w *world) {
			w.answer = loading.Answer{Kind: loading.CheckFailed, Error: "handover-format: luo-v6", Report: &verdict.Report{}}
		}, "CheckFailed"},
		"luod-kexec dies":   {func(w *world) { w.askError = errors.New("killed") }, "LoadFailed"},
		"the store is full": {func(w *world) { w.store.FailNext(errors.New("full")) }, "PackFailed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preserve("a.service", 3)
			w.load()
			c.spoil(w)
			_, err := w.c.LiveUpdate(ctx, record.Options{})
			var f *fault.Fault
			if !errors.As(err, &f) || f.Name != c.fault {
				t.Fatalf("got %v, want %s", err, c.fault)
			}
			if out := w.kernel.Outgoing(); len(out) != 0 {
				t.Fatalf("still preserved: %v", out)
			}
			w.kernel.SetPresent(true)
			w.survive, w.jumpErr, w.answer, w.askError, w.answered = nil, nil, loading.Answer{}, nil, nil
			w.expect(phase.Idle, 0)
			w.look("a.service", 3)
			w.update() // and the next try works
			w.reboot()
			w.fetch("a.service", 3)
			w.expect(phase.Idle, 1)
		})
	}
}

// A luod that is killed while luod-kexec loads its kernel again has the count of before.
func TestWhatWasLoadedWhileLuodWasKilledIsLoadedOnceMore(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 1)
	w.load()
	w.loadForeign(true)
	w.kill()
	w.start()
	before := w.left
	if _, err := w.c.LiveUpdate(ctx, record.Options{}); err != nil {
		t.Fatal(err)
	}
	if done := before - w.left; done != 1 {
		t.Errorf("it was loaded %d times more", done)
	}
	w.reboot()
	w.fetch("a.service", 1)
	w.expect(phase.Idle, 1)
}

func TestTheKernelIsCheckedAndLoadedAgainBeforeAnythingStops(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 1)
	if _, _, err := w.c.Load(ctx, nextkernel.Request{Entry: "/k", CommandLine: "x", Override: []string{"memory"}}); err != nil {
		t.Fatal(err)
	}
	loaded := w.status().Loaded
	w.loaded = true // whoever loads another one does not matter
	if _, err := w.c.LiveUpdate(ctx, record.Options{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Check(ctx, nextkernel.Request{}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.c.Check(ctx, nextkernel.Request{CommandLine: "other"}); err != nil {
		t.Fatal(err)
	}
	if last := w.asked[len(w.asked)-1]; last.Again != nil || last.CommandLine != "other" {
		t.Errorf("a check of something else asked for %+v", last)
	}
	w.asked = w.asked[:len(w.asked)-1]
	// Services may go on handing over, and nobody may load or start anything.
	w.asking = func() {
		w.preserve("b.service", 1)
		var f *fault.Fault
		if _, _, err := w.c.Load(ctx, nextkernel.Request{}); !errors.As(err, &f) || f.Name != "Busy" {
			t.Errorf("load meanwhile: %v", err)
		}
		if _, err := w.c.LiveUpdate(ctx, record.Options{}); !errors.As(err, &f) || f.Name != "Busy" {
			t.Errorf("update meanwhile: %v", err)
		}
		if err := w.c.Unload(ctx); !errors.As(err, &f) || f.Name != "Busy" {
			t.Errorf("unload meanwhile: %v", err)
		}
	}
	if _, err := w.c.LiveUpdate(ctx, record.Options{Override: []string{"modules"}}); err != nil {
		t.Fatal(err)
	}
	if len(w.asked) != 4 {
		t.Fatalf("asked %d times", len(w.asked))
	}
	for i, verb := range []loading.Verb{loading.Load, loading.Check, loading.Check, loading.Load} {
		if w.asked[i].Verb != verb {
			t.Errorf("question %d is %s", i, w.asked[i].Verb)
		}
		if i > 0 && (w.asked[i].Again == nil || w.asked[i].Again.Digest != loaded.Digest || !reflect.DeepEqual(w.asked[i].Again.Target, loaded.Target) || len(w.asked[i].Again.Known) == 0) {
			t.Errorf("question %d is about %+v", i, w.asked[i].Again)
		}
	}
	if got := w.asked[3].Override; !slices.Equal(got, []string{"modules", "memory"}) {
		t.Errorf("overridden: %v", got)
	}
	w.asking = nil
	w.reboot()
	w.fetch("a.service", 1)
	w.look("b.service", 1)
}

func TestACallerThatGoesAwayChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 1)
	w.load()
	gone, cancel := context.WithCancel(ctx)
	w.asking = cancel
	if _, err := w.c.LiveUpdate(gone, record.Options{}); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	w.until(phase.Committed)
	w.reboot()
	w.fetch("a.service", 1)
}

func TestARefusedLoadKeepsWhatWasLoaded(t *testing.T) {
	w := newWorld(t)
	w.load()
	was := w.status().Loaded
	for _, kind := range []loading.Kind{loading.CheckFailed, loading.NoEntry, loading.BadRequest} {
		w.answer = loading.Answer{Kind: kind, Error: "no"}
		var f *fault.Fault
		if _, _, err := w.c.Load(ctx, nextkernel.Request{}); !errors.As(err, &f) || f.Name != string(kind) {
			t.Fatalf("got %v", err)
		}
		if now := w.status().Loaded; !reflect.DeepEqual(now, was) {
			t.Fatalf("%s: now %+v", kind, now)
		}
	}
	w.answer = loading.Answer{Kind: loading.LoadFailed, Error: "no"}
	if _, _, err := w.c.Load(ctx, nextkernel.Request{}); err == nil || w.status().Loaded != nil {
		t.Fatalf("%v, %+v", err, w.status().Loaded)
	}
}

func TestAShutdownThatIsGivenUpIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 3)
	w.update()
	f := memfd(t, "x")
	var busy *fault.Fault
	if err := w.c.Preserve(ctx, "a.service", []string{"late"}, []*os.File{f}); !errors.As(err, &busy) || busy.Name != "Busy" {
		t.Fatalf("during an update: %v", err)
	}
	w.results <- errors.New("canceled")
	soon(func() bool { return w.status().Phase == phase.Idle })
	if s := w.expect(phase.Idle, 0); !strings.Contains(s.LastError, "canceled") {
		t.Fatalf("last error %q", s.LastError)
	}
	if out := w.kernel.Outgoing(); len(out) != 0 {
		t.Fatalf("still preserved: %v", out)
	}
	if err := w.c.Preserve(ctx, "a.service", []string{"late"}, []*os.File{f}); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Release(ctx, "a.service", []string{"late"}); err != nil {
		t.Fatal(err)
	}
	w.update()
	w.reboot()
	w.fetch("a.service", 3)
}

func TestAKillAtAnyStepLosesNothing(t *testing.T) {
	for name, kill := range map[string]func(*world){
		"before packing": func(w *world) { w.kill(); w.start(); w.expect(phase.Idle, 0); w.update(); w.reboot() },
		"while loading": func(w *world) {
			w.asking = func() { w.loaded = true; w.kill() }
			if _, _, err := w.c.Load(ctx, nextkernel.Request{}); !errors.Is(err, state.ErrStopped) {
				w.t.Fatalf("got %v", err)
			}
			w.asking = nil
			w.start()
			var f *fault.Fault
			if _, err := w.c.LiveUpdate(ctx, record.Options{}); !errors.As(err, &f) || f.Name != "ForeignKernel" {
				w.t.Fatalf("got %v", err)
			}
			w.update()
			w.reboot()
		},
		"after the commit": func(w *world) {
			w.update()
			w.jumping = true
			w.kill()
			w.start()
			w.expect(phase.Committed, 0)
			w.reboot()
		},
		"after the commit, and the shutdown is given up": func(w *world) {
			w.update()
			w.kill()
			w.start()
			w.expect(phase.Idle, 0)
			if out := w.kernel.Outgoing(); len(out) != 0 {
				w.t.Fatalf("still preserved: %v", out)
			}
			w.update()
			w.reboot()
		},
		"after the retrieval": func(w *world) {
			w.update()
			w.reboot()
			w.kill()
			w.start()
			w.expect(phase.Restoring, 1, "a.service", "b.service")
		},
		"after the retrieval, before the record": func(w *world) {
			w.update()
			w.reboot()
			w.kill()
			if err := os.Remove(w.record); err != nil {
				w.t.Fatal(err)
			}
			w.start()
			w.expect(phase.Restoring, 1, "a.service", "b.service")
		},
		"after one unit has fetched": func(w *world) {
			w.update()
			w.reboot()
			w.fetch("b.service", 2)
			w.kill()
			w.start()
			w.expect(phase.Restoring, 1, "a.service")
		},
		"after one unit has fetched and released": func(w *world) {
			w.update()
			w.reboot()
			w.fetch("b.service", 2)
			if err := w.c.Release(ctx, "b.service", nil); err != nil {
				w.t.Fatal(err)
			}
			w.kill()
			w.start()
			w.expect(phase.Restoring, 1, "a.service")
			w.preserve("b.service", 2)
		},
		"when all have fetched": func(w *world) {
			w.update()
			w.reboot()
			w.fetch("a.service", 120)
			w.fetch("b.service", 2)
			w.kill()
			w.start()
			w.expect(phase.Idle, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.preserve("a.service", 120)
			w.preserve("b.service", 2)
			kill(w)
			w.fetch("a.service", 120)
			w.fetch("b.service", 2)
			w.expect(phase.Idle, 1)
			if in := w.kernel.Incoming(); len(in) != 0 {
				t.Fatalf("still open: %v", in)
			}
		})
	}
}

func TestWhatNobodyFetchedIsCarriedOn(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 5)
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 1, "a.service")
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 2, "a.service")
	w.fetch("a.service", 5)
	w.expect(phase.Idle, 2)
}

func TestALostHandoverIsLoud(t *testing.T) {
	w := newWorld(t)
	w.line = "root=/dev/vda luod.generation=3"
	w.record = filepath.Join(t.TempDir(), "record.json")
	w.kill()
	w.start()
	if s := w.status(); !strings.Contains(s.Warning, "generation 3") {
		t.Fatalf("warning %q", s.Warning)
	}
}

func TestAnUnreadableManifestKeepsTheSessionsOpen(t *testing.T) {
	for name, text := range map[string]string{
		"damaged": "LUOD-MANIFEST 1 5 00\nhello",
		"newer":   "LUOD-MANIFEST 4 what do I know",
		"empty":   "",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			s, err := w.kernel.LUO().CreateSession(ctx, manifest.SessionName)
			if err != nil {
				t.Fatal(err)
			}
			f := memfd(t, text)
			if err := s.PreserveFD(f, manifest.Token); err != nil {
				t.Fatal(err)
			}
			w.reboot()
			for range 2 { // and a restart makes it no better
				s := w.status()
				if s.Degraded == "" || len(w.kernel.Incoming()) != 1 {
					t.Fatalf("%+v, incoming %v", s, w.kernel.Incoming())
				}
				w.load()
				var fault *fault.Fault
				if _, err := w.c.LiveUpdate(ctx, record.Options{}); !errors.As(err, &fault) || fault.Name != "Degraded" {
					t.Fatalf("an update went ahead: %v", err)
				}
				_, err := w.c.Retrieve(ctx, "a.service", nil)
				w.expectFault(err, "Degraded")
				w.kill()
				w.start()
			}
			// An administrator has one unit do without.
			if err := w.c.Discard(ctx, "a.service", nil); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				w.look("a.service", 0)
				_, err := w.c.Retrieve(ctx, "b.service", nil)
				w.expectFault(err, "Degraded")
				w.kill()
				w.start()
			}
		})
	}
}

func TestAReadOnlyDescriptorStaysOne(t *testing.T) {
	w := newWorld(t)
	rw := memfd(t, "0123456789")
	ro, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", rw.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	rw.Close()
	if _, err := ro.Seek(4, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Preserve(ctx, "a.service", []string{"ro"}, []*os.File{ro}); err != nil {
		t.Fatal(err)
	}
	w.update()
	w.reboot()
	fetch, err := w.c.Retrieve(ctx, "a.service", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer fetch.Close()
	f := fetch.Files[0]
	if _, err := f.Write([]byte("x")); err == nil {
		t.Error("it became writable")
	}
	if at, _ := f.Seek(0, io.SeekCurrent); at != 4 {
		t.Errorf("its position is %d", at)
	}
}

// openFDs counts the descriptors of this process.
func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestNoDescriptorIsLeftBehind(t *testing.T) {
	// What other tests dropped is closed by the garbage collector at its leisure.
	for range 2 {
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := openFDs(t)
	w := newWorld(t)
	w.preserve("a.service", 120)
	w.update()
	w.reboot()
	w.fetch("a.service", 120)
	if err := w.c.Release(ctx, "a.service", nil); err != nil {
		t.Fatal(err)
	}
	w.kill()
	w.store.Close()
	w.kernel.Incoming() // lets the fake notice the last close
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

func TestWhatCameBackOtherwiseIsNeverDiscarded(t *testing.T) {
	w := newWorld(t)
	w.preserve("a.service", 2)
	for session, content := range map[string]string{"luod.g1.1": "12345", manifest.SessionName: ""} {
		s, err := w.kernel.LUO().CreateSession(ctx, session)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if session == manifest.SessionName {
			text, err := manifest.Encode(&manifest.Manifest{Generation: 1, Units: []manifest.Unit{{Name: "b.service", Files: []manifest.File{
				{Name: "fd-0", Session: "luod.g1.1", Token: 1, Size: 999},
				{Name: "fd-1", Session: "luod.g1.2", Token: 1, Size: 999},
			}}}})
			if err != nil {
				t.Fatal(err)
			}
			content = string(text)
		}
		if err := s.PreserveFD(memfd(t, content), 1); err != nil {
			t.Fatal(err)
		}
	}
	w.reboot()
	for range 2 {
		s := w.status()
		if len(s.Lost) != 2 || !slices.Equal(s.Waiting, []string{"b.service"}) || s.FileDescriptors != 0 {
			t.Fatalf("%+v", s)
		}
		w.load()
		var fault *fault.Fault
		if _, err := w.c.LiveUpdate(ctx, record.Options{}); !errors.As(err, &fault) || fault.Name != "Degraded" || !strings.Contains(err.Error(), "fd-0") {
			t.Fatalf("an update went ahead: %v", err)
		}
		if in := w.kernel.Incoming(); !slices.Contains(in, "luod.g1.1") {
			t.Fatalf("discarded: open are %v", in)
		}
		w.kill()
		w.start()
	}
	// An administrator can give up either, and is not told of it any more.
	given := func() (names []string) {
		for _, l := range w.status().Lost {
			if l.Discarded {
				names = append(names, l.Name)
			}
		}
		return names
	}
	for i, name := range []string{"fd-1", "fd-0"} {
		if err := w.c.Discard(ctx, "b.service", []string{name}); err != nil {
			t.Fatal(err)
		}
		w.kill()
		w.start()
		if got := given(); len(got) != i+1 || !slices.Contains(got, name) {
			t.Fatalf("%v count as given up after %s was discarded", got, name)
		}
	}
	if s := w.status(); s.Phase != phase.Idle {
		t.Fatalf("%+v", s)
	}
}
