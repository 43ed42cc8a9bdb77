package coordinator

import (
	"os"
	"strings"
	"testing"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/record"
)

// An admin may lower the limits between two boots.
func TestNoLimitCostsAUnitWhatCameThrough(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.update()
	w.settings.FileDescriptorsMax, w.settings.BytesMax = 1, 1
	w.reboot()
	w.expect(phase.Restoring, 1, a)
	if status, err := w.c.Status(ctx); err != nil || len(status.Lost) != 0 {
		t.Errorf("lost: %+v, %v", status.Lost, err)
	}
	w.fetch(a, 3)
	w.expect(phase.Idle, 1)
}

// What has grown over a limit is refused before anything is stopped, also when it grows
// while services are asked.
func TestWhatIsOverALimitIsRefusedBeforeTheUpdate(t *testing.T) {
	w := newWorld(t)
	w.settings.BytesMax = 100
	w.kill()
	w.start()
	f := memfd(t, "x")
	grows := reopened(t, f, os.O_RDWR)
	defer grows.Close()
	if err := w.c.Preserve(ctx, a, []string{"f"}, []*os.File{f}); err != nil {
		t.Fatal(err)
	}
	w.load()
	grow := func(size int64) {
		if err := grows.Truncate(size); err != nil {
			t.Fatal(err)
		}
	}
	grow(101)
	for _, options := range []record.Options{{DryRun: true}, {}, {Fast: true}} {
		_, err := w.c.LiveUpdate(ctx, options)
		w.expectFault(err, "OverLimit")
		if !strings.Contains(err.Error(), "a.service has 101 bytes") {
			t.Errorf("it says %v", err)
		}
	}
	grow(100)
	w.register(b, record.Registration{})
	w.begin()
	grow(101)
	w.ready(b)
	if s := w.until(phase.Idle); !strings.Contains(s.LastError, "BytesMax") {
		t.Errorf("%+v", s)
	}
	grow(100)
	w.begin()
	w.ready(b)
	w.until(phase.Committed)
	w.reboot()
	w.expect(phase.Restoring, 1, a)
}
