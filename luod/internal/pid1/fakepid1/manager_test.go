package fakepid1_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/pid1/fakepid1"
)

var _ coordinator.Units = (*fakepid1.Manager)(nil)

var ctx = context.Background()

func memfd(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	return f
}

func newManager(t *testing.T, version int, units ...fakepid1.Unit) *fakepid1.Manager {
	m := fakepid1.New(version)
	t.Cleanup(m.Close)
	m.Define(units...)
	return m
}

// A start runs what luod-reissue does before the service, which is passed what that has stored; and a stop what the
// service stores at last.
func TestAStartAndAStopRunWhatTheyAreTold(t *testing.T) {
	a, b := memfd(t), memfd(t)
	var passed, kept []string
	unit := fakepid1.Unit{Name: "a.service", StoreMax: 2, Preserve: "yes",
		StartPre: func(p *fakepid1.Process) error { return errors.Join(p.Push("early", a), p.Barrier(ctx)) },
		Start: func(p *fakepid1.Process) error {
			for _, e := range p.Listen() {
				passed = append(passed, e.Name)
				e.File.Close()
			}
			return nil
		},
		Stop: func(p *fakepid1.Process) error { return p.Push("late", b) },
	}
	m := newManager(t, 262, unit)
	if err := m.Start(ctx, []string{unit.Name}); err != nil {
		t.Fatal(err)
	}
	first := m.State(unit.Name)
	if first.Active != "active" || !slices.Equal(passed, []string{"early"}) {
		t.Errorf("it is %+v and was passed %q", first, passed)
	}
	if err := m.Stop(ctx, []string{unit.Name}); err != nil {
		t.Fatal(err)
	}
	for _, s := range m.Store(unit.Name) {
		kept = append(kept, s.Name)
	}
	if !slices.Equal(kept, []string{"late", "early"}) {
		t.Errorf("kept is %q", kept)
	}
	if err := m.Start(ctx, []string{unit.Name}); err != nil {
		t.Fatal(err)
	}
	if s := m.State(unit.Name); s.InvocationID == first.InvocationID {
		t.Error("two starts have one invocation")
	}
}

// The callbacks of a unit may ask the manager, and see it between its states.
func TestAUnitIsSeenBetweenItsStates(t *testing.T) {
	var m *fakepid1.Manager
	var seen []string
	look := func(p *fakepid1.Process) error {
		running, err := m.Look(ctx, []string{p.Unit})
		seen = append(seen, running[p.Unit].State)
		return err
	}
	m = newManager(t, 257, fakepid1.Unit{Name: "a.service", StartPre: look, Start: look, Stop: look, StopPost: look})
	if err := errors.Join(m.Start(ctx, []string{"a.service"}), m.Stop(ctx, []string{"a.service"})); err != nil {
		t.Fatal(err)
	}
	if want := []string{"activating", "activating", "deactivating", "deactivating"}; !slices.Equal(seen, want) {
		t.Errorf("it was %q", seen)
	}
}

// Stop waits for no longer than its context, and the job goes on.
func TestWhoGivesUpLeavesTheJobRunning(t *testing.T) {
	hold := make(chan struct{})
	m := newManager(t, 257, fakepid1.Unit{Name: "a.service", Stop: func(*fakepid1.Process) error { <-hold; return nil }})
	if err := m.Start(ctx, []string{"a.service"}); err != nil {
		t.Fatal(err)
	}
	brief, cancel := context.WithCancel(ctx)
	cancel()
	if err := m.Stop(brief, []string{"a.service"}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	close(hold)
	if err := m.Stop(ctx, []string{"a.service"}); err != nil { // waits for the job before
		t.Fatal(err)
	}
	if s := m.State("a.service"); s.Active != "inactive" {
		t.Errorf("it is %+v", s)
	}
}
