package coordinator

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
)

// storeStory is a world whose services have fd stores, with what each must have.
type storeStory struct {
	*world
	r *rand.Rand
	// has is what each unit's store has, sorted, and process who can say something.
	has     map[string][]string
	process map[string]*fakepid1.Process
	made    int
	updates int
}

// storeCast are a unit whose store a stop drops, one that PID 1 keeps it for, one whose
// directory comes along, and one that goes down with that.
var storeCast = []string{dependent, kept, ordinary, packing}

// TestRandomStoriesOfStores has services store and remove, start, stop, fail and be
// restarted, admins update, fast or not, and cancel, PID 1 refuse, hang up and reload,
// and the kernel refuse, kills luod in between, and checks after every event that each
// service's store has just what it should.
func TestRandomStoriesOfStores(t *testing.T) {
	updates, sequences := 0, stories()/5
	for seed := range uint64(sequences) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newStoreStory(t, seed)
			for range 20 {
				what := s.event()
				s.check(what)
			}
			updates += s.updates
		}) {
			return
		}
	}
	if updates < sequences/5 {
		t.Errorf("only %d updates went through: the stories prove little", updates)
	}
	t.Logf("%d stories, %d updates went through", sequences, updates)
}

func newStoreStory(t *testing.T, seed uint64) *storeStory {
	s := &storeStory{world: newWorld(t), r: rand.New(rand.NewPCG(seed, 2)), has: map[string][]string{}, process: map[string]*fakepid1.Process{}}
	s.manage([]int{257, 262}[s.r.IntN(2)])
	first := func(p *fakepid1.Process) {
		s.process[p.Unit] = p
		s.has[p.Unit] = nil
		s.push(p.Unit)
	}
	for unit, file := range map[string]fakepid1.Unit{
		dependent: {Requires: []string{packing}, After: []string{packing}},
		kept:      {Preserve: "yes"}, ordinary: {Restart: true}, packing: {},
	} {
		declaration := "Preserve=fdstore\n"
		if unit == packing {
			declaration += "Directories=/run/x\n"
		}
		s.m.keeping(unit, declaration, file, first)
		s.m.onStart(unit, func(p *fakepid1.Process) { s.process[unit] = p })
	}
	s.start1()
	return s
}

// start1 starts everything.
func (s *storeStory) start1() {
	s.t.Helper()
	if err := s.m.Start(ctx, storeCast); err != nil {
		s.t.Fatal(err)
	}
}

// push has a unit's service store one more, of a name that it may have already.
func (s *storeStory) push(unit string) {
	s.made++
	name, text := fmt.Sprintf("n%d", s.r.IntN(3)), fmt.Sprintf("%s %d", unit, s.made)
	f := memfd(s.t, text)
	mode := os.O_RDWR
	if s.r.IntN(3) == 0 {
		mode = os.O_RDONLY
	}
	again := reopened(s.t, f, mode)
	f.Close()
	if err := s.process[unit].Push(name, again); err != nil {
		s.t.Fatal(err)
	}
	again.Close()
	s.has[unit] = append(s.has[unit], fmt.Sprintf("%s=%s/%d", name, text, mode))
	slices.Sort(s.has[unit])
}

func (s *storeStory) runs(unit string) bool { return s.m.State(unit).Active == "active" }

func (s *storeStory) event() string {
	unit := storeCast[s.r.IntN(len(storeCast))]
	switch n := s.r.IntN(12); n {
	case 0, 1:
		if s.runs(unit) && len(s.has[unit]) < 5 {
			s.push(unit)
		}
		return "store"
	case 2:
		if s.runs(unit) && len(s.has[unit]) > 1 {
			name, _, _ := strings.Cut(s.has[unit][0], "=")
			if err := s.process[unit].Remove(name); err != nil {
				s.t.Fatal(err)
			}
			s.has[unit] = slices.DeleteFunc(s.has[unit], func(e string) bool { return strings.HasPrefix(e, name+"=") })
		}
		return "remove"
	case 3:
		if s.runs(unit) {
			if err := s.m.Restart(ctx, unit); err != nil {
				s.t.Fatal(err)
			}
		}
		return "restart " + unit
	case 4:
		return "stop " + s.stop(unit)
	case 5:
		s.m.Reload()
		return "reload"
	case 6:
		if s.runs(ordinary) {
			if err := errors.Join(s.m.Exit(ctx, ordinary, errTest), s.m.Elapse(ctx, ordinary)); err != nil {
				s.t.Fatal(err)
			}
		}
		return "exit"
	case 7:
		s.kill()
		s.start()
		return "kill"
	case 8:
		_ = s.c.Preserve(ctx, unit, []string{fmt.Sprint("own", s.made)}, []*os.File{memfd(s.t, unit)})
		return "preserve"
	default:
		return s.update()
	}
}

// stop is an admin's: PID 1 drops what it doesn't keep, of the dependents too.
func (s *storeStory) stop(unit string) string {
	stopped := []string{unit}
	if unit == packing {
		stopped = append(stopped, dependent)
	}
	running := slices.DeleteFunc(stopped, func(u string) bool { return !s.runs(u) })
	if err := s.m.Stop(ctx, []string{unit}); err != nil {
		s.t.Fatal(err)
	}
	for _, u := range running {
		if u != kept || s.m.version < 261 { // nothing refers to it
			s.has[u] = nil
		}
	}
	return unit
}

// update tries one, with something that may go wrong.
func (s *storeStory) update() string {
	s.load()
	fast := s.m.version >= 261 || s.r.IntN(2) == 0 // else PID 1 carries some
	trouble := s.r.IntN(10)
	switch trouble {
	case 0:
		s.jumpErr = errTest
	case 1:
		s.kernel.FailNext(packRequest, unix.ENOMEM)
	case 2:
		s.holderErr = errTest
	case 3:
		s.m.FailNext([]string{"Stop", "Run", "Stores", "Look", "Active", "Pin"}[s.r.IntN(6)], errTest)
	}
	lowered := trouble == 4 && len(s.has[ordinary]) > 0
	restore := s.limit(lowered)
	err := s.tryUpdate(fast)
	restore()
	s.jumpErr, s.holderErr = nil, nil
	if f := (*fault.Fault)(nil); lowered && (!errors.As(err, &f) || f.Name != "WouldNotFit") {
		s.t.Fatalf("a limit was lowered, and %v", err)
	}
	what := fmt.Sprintf("update, fast %t, trouble %d: %v", fast, trouble, err)
	if err == nil {
		what += s.afterCommit(fast)
	}
	if !soon(func() bool { p := s.status().Phase; return s.still() && (p == phase.Idle || p == phase.Restoring) }) {
		s.t.Fatalf("%s: it does not end: %+v", what, s.status())
	}
	s.revived()
	return what
}

// limit lowers a unit's limit below what it has, in its file, until restore.
func (s *storeStory) limit(lowered bool) (restore func()) {
	if !lowered {
		return func() {}
	}
	path := s.units[ordinary]
	was, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	write(fmt.Appendf(slices.Clone(was), "[Service]\nFileDescriptorStoreMax=%d\n", len(s.has[ordinary])-1))
	return func() { write(was) }
}

func (s *storeStory) afterCommit(fast bool) string {
	down := func() {
		if !fast && s.r.IntN(2) == 0 {
			s.shutDown()
		}
	}
	switch s.r.IntN(5) {
	case 0:
		down()
		s.results <- errors.New("canceled")
		return ", cancelled"
	case 1:
		down()
		s.kill()
		s.start()
		return ", luod killed and given up"
	case 2:
		s.results <- fmt.Errorf("%w: EOF", pid1.ErrHungUp)
		if !soon(func() bool { s.clock.advance(time.Second); return s.status().Phase == phase.Idle }) {
			s.t.Fatal("it is committed for ever")
		}
		return ", hung up and given up"
	}
	if !fast {
		s.shutDown()
	}
	if !fast && s.r.IntN(2) == 0 {
		s.store.Close() // PID 1 has become systemd-shutdown
		s.c.Close()
	}
	s.updates++
	s.reboot()
	return ", went through"
}

// revived waits until everything runs again that luod has stopped, and starts the rest.
func (s *storeStory) revived() {
	s.t.Helper()
	if !soon(func() bool {
		owing, err := locked(ctx, s.c, func() (bool, error) { return len(s.c.Rec.Stopped) > 0, nil })
		return err == nil && !owing
	}) {
		s.t.Fatal("not all are started again")
	}
}

// check looks into every store, once everything runs and luod has let go.
func (s *storeStory) check(what string) {
	s.t.Helper()
	s.start1()
	s.clock.advance(5 * time.Second)
	if status := s.status(); len(status.Lost) != 0 || status.Degraded != "" || status.Phase != phase.Idle {
		s.t.Fatalf("%s: %+v", what, status)
	}
	for _, unit := range storeCast {
		got := s.m.told(s.process[unit])
		slices.Sort(got)
		if !slices.Equal(got, s.has[unit]) {
			s.t.Fatalf("%s: %s has %q, and should have %q", what, unit, got, s.has[unit])
		}
		for _, f := range s.adoptedNames(unit) {
			s.t.Fatalf("%s: luod still holds %q of %s", what, f, unit)
		}
	}
	if out := s.kernel.Outgoing(); len(out)+len(s.holding.Files) != 0 {
		s.t.Fatalf("%s: still preserved: %v", what, out)
	}
}

func (s *storeStory) adoptedNames(unit string) []string {
	return slices.DeleteFunc(s.names(unit), func(n string) bool { return !strings.Contains(n, ":") })
}
