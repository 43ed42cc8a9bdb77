package coordinator

import (
	"os"
	"slices"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/phase"
)

func TestWhatNobodyFetchesIsKept(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.update()
	w.reboot()
	w.clock.advance(1000 * time.Hour)
	w.expect(phase.Restoring, 1, a)
	w.fetch(a, 2)
}

func TestWhatNobodyFetchesIsGivenUpIfAnAdminWantsThat(t *testing.T) {
	w := newWorld(t)
	w.settings.Retain = time.Hour
	w.preserve(a, 2)
	w.preserve(b, 1)
	w.session(a, "own", "x")
	w.update()
	w.reboot()
	w.fetch(b, 1)
	w.clock.advance(59 * time.Minute)
	w.expect(phase.Restoring, 1, a)
	w.clock.advance(2 * time.Minute)
	w.expect(phase.Idle, 1)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 0 {
		t.Fatalf("%v, %v", own, err)
	}
	if own, err := w.c.Own(ctx, b); err != nil || len(own) != 1 {
		t.Fatalf("%v, %v", own, err)
	}
}

// Only what was not fetched is given up: not what the unit has fetched of it, nor what it
// has handed over since.
func TestWhatWasFetchedOrIsNewIsNotGivenUp(t *testing.T) {
	w := newWorld(t)
	w.settings.Retain = time.Hour
	w.preserve(a, 3)
	w.update()
	w.reboot()
	if err := w.c.Fetched(ctx, a, []string{"fd-0"}); err != nil {
		t.Fatal(err)
	}
	if err := w.c.Preserve(ctx, a, []string{"new"}, []*os.File{memfd(t, "new")}); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(2 * time.Hour)
	w.expect(phase.Idle, 1)
	if got := w.names(a); !slices.Equal(got, []string{"fd-0", "new"}) {
		t.Errorf("luod has %q", got)
	}
}
