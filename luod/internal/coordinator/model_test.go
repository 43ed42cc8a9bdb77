package coordinator

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// stories is how many random stories TestRandomStories tells; they take 16 ms
// each.
func stories() int {
	if testing.Short() {
		return 500
	}
	return 10_000
}

// story is what must be true of a world, whatever happens in it.
type story struct {
	*world
	r    *rand.Rand
	held map[string]int // files of each unit, which are fd-0 and on
	// said are those that were asked in this update and said Ready since, and
	// optional those that may be left behind.
	said, optional, registered map[string]bool
	generation                 uint64
	asked                      []string
	// sessions are who has one with its own name in it, and incoming whose came
	// through an update.
	sessions, incoming map[string]bool
}

var cast = []string{"a.service", "b.service", "c.service"}

// TestRandomStories has services, admins, PID 1, and the kernel do what they
// like, and others load kernels, kills luod in between, and checks after every event
// that nothing is lost or doubled, that nobody moved unless all were ready or may be
// left behind, and that luod has loaded what is jumped into.
func TestRandomStories(t *testing.T) {
	committed, sequences := 0, stories()
	for seed := range uint64(sequences) {
		if !t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := &story{world: newWorld(t), r: rand.New(rand.NewPCG(seed, 1)), held: map[string]int{}, registered: map[string]bool{}, sessions: map[string]bool{}, incoming: map[string]bool{}}
			for range 25 {
				s.event()
				s.check()
			}
			committed += int(s.generation)
		}) {
			return
		}
	}
	if committed < sequences/10 {
		t.Errorf("only %d updates went through: the stories prove little", committed)
	}
	t.Logf("%d stories, %d updates went through", sequences, committed)
}

func (s *story) event() {
	unit := cast[s.r.IntN(len(cast))]
	switch s.r.IntN(15) {
	case 0, 1:
		if n := s.held[unit]; n < 4 {
			f := memfd(s.t, fmt.Sprintf("%s/fd-%d", unit, n))
			if s.c.Preserve(ctx, unit, []string{fmt.Sprintf("fd-%d", n)}, []*os.File{f}) == nil {
				s.held[unit]++
			} else {
				f.Close()
			}
		}
	case 2:
		if n := s.held[unit]; n > 0 && s.c.Release(ctx, unit, []string{fmt.Sprintf("fd-%d", n-1)}) == nil {
			s.held[unit]--
		}
	case 3:
		o := record.Registration{Timeout: time.Duration(1+s.r.IntN(9)) * time.Second, Optional: s.r.IntN(2) == 0}
		if i := slices.Index(cast, unit); i > 0 && s.r.IntN(2) == 0 {
			o.After = cast[:i]
		}
		s.register(unit, o)
		s.registered[unit] = o.Optional
	case 4:
		_ = s.c.Unregister(ctx, unit)
	case 5, 6:
		s.trigger()
	case 7, 8, 9:
		if s.c.Ready(ctx, unit) == nil {
			s.said[unit] = true
		}
	case 10:
		switch s.r.IntN(4) {
		case 0:
			_ = s.c.Fail(ctx, unit, "no")
		case 1:
			_ = s.c.Cancel(ctx, "no")
		case 2:
			s.running[unit] = pid1.Running{State: "failed"}
		case 3:
			s.running[unit] = pid1.Running{State: "active", InvocationID: fmt.Sprint(s.r.Int())}
		}
	case 11:
		s.clock.advance(time.Duration(s.r.IntN(4000)) * time.Millisecond)
	case 12:
		s.kill()
		s.start()
	case 14:
		switch f, err := s.c.CreateSession(ctx, unit, "own"); {
		case err != nil:
			if s.incoming[unit] {
				s.emptied(unit, "own", unit)
				delete(s.incoming, unit)
			}
		case s.sessions[unit]:
			f.Close()
			if s.r.IntN(2) == 0 && s.c.ReleaseSession(ctx, unit, "own") == nil {
				delete(s.sessions, unit)
			}
		default:
			f.Close()
			if s.fill(unit) {
				s.sessions[unit] = true
			}
		}
	case 13:
		switch s.r.IntN(3) {
		case 0:
			s.kernel.FailNext(luofake.PreserveFD, unix.ENOMEM)
		case 1:
			fetch, err := s.c.Retrieve(ctx, unit, nil)
			if err == nil {
				fetch.Close()
				_ = s.c.Fetched(ctx, unit, fetch.Names)
			}
		case 2:
			s.loadForeign(s.r.IntN(2) == 0)
		}
	}
	s.settle()
}

// fill puts a file into the unit's session, unless the kernel is out of memory.
func (s *story) fill(unit string) bool {
	f, err := s.c.CreateSession(ctx, unit, "own")
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	m := memfd(s.t, unit)
	defer m.Close()
	if err := s.kernel.LUO().SessionFromFile(f).PreserveFD(m, 7); err == nil {
		return true
	}
	if err := s.c.ReleaseSession(ctx, unit, "own"); err != nil {
		s.t.Fatal(err)
	}
	return false
}

func (s *story) trigger() {
	if s.status().Phase.Underway() {
		return
	}
	s.runsAgain() // what was stopped for an earlier one
	if _, _, err := s.c.Load(ctx, nextkernel.Request{Entry: "/k"}); err != nil {
		s.t.Fatal(err)
	}
	s.said, s.optional = map[string]bool{}, maps.Clone(s.registered)
	s.stopErr = nil
	if s.r.IntN(8) == 0 {
		s.stopErr = errors.New("it does not stop")
	}
	if _, err := s.c.LiveUpdate(ctx, record.Options{NoBlock: true, Fast: s.r.IntN(2) == 0}); err != nil {
		if len(s.incoming) > 0 {
			return // it would be forgotten
		}
		s.t.Fatal(err)
	}
	s.settle()
	s.asked = nil
	for _, v := range s.status().Services {
		s.asked = append(s.asked, v.Unit)
	}
}

func (s *story) check() {
	s.t.Helper()
	status := s.status()
	switch status.Phase {
	case phase.Committed:
		left := map[string]bool{}
		for _, l := range status.LeftBehind {
			left[l.Unit] = true
			if !s.optional[l.Unit] {
				s.t.Fatalf("%s was left behind and is needed", l.Unit)
			}
		}
		for _, unit := range s.asked {
			if !s.said[unit] && !left[unit] {
				s.t.Fatalf("committed, and %s is not ready: %+v", unit, status)
			}
		}
		if s.r.IntN(3) == 0 { // PID 1 gives it up
			s.results <- errors.New("canceled")
			s.until(phase.Idle)
		} else {
			s.generation++
			if s.r.IntN(300) == 0 {
				s.rebootWhileTheDeviceIsBusy(s.generation, func() {
					if s.r.IntN(2) == 0 {
						s.kill()
						s.start()
					}
				})
			} else {
				s.reboot()
			}
			s.incoming, s.sessions = s.sessions, map[string]bool{}
			for unit := range left {
				s.held[unit] = 0
			}
			s.running = map[string]pid1.Running{}
		}
		s.asked = nil
	case phase.Idle, phase.Restoring:
		s.asked = nil
		if out := s.kernel.Outgoing(); len(out) != len(s.sessions) {
			s.t.Fatalf("%s, and still preserved: %v", status.Phase, out)
		}
		s.runsAgain()
	case phase.Preparing:
		if out := s.kernel.Outgoing(); len(out) != len(s.sessions) {
			s.t.Fatalf("preserved before all are ready: %v", out)
		}
	}
	if status = s.status(); status.Generation != s.generation || len(status.Lost) != 0 || status.Degraded != "" {
		s.t.Fatalf("in generation %d: %+v", s.generation, status)
	}
	for _, unit := range cast {
		s.look(unit, s.held[unit])
	}
}
