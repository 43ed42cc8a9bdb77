package coordinator

import (
	"testing"

	"github.com/liveupdate/luod/internal/phase"
)

func TestWhatNobodyWillFetchCanBeDiscarded(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.preserve(b, 1)
	w.session(a, "own", "x")
	w.expectFault(w.c.Discard(ctx, d, nil), "NoSuchName")
	w.expectFault(w.c.Discard(ctx, a, []string{"nothing"}), "NoSuchName")
	w.update()
	w.reboot()
	w.expect(phase.Restoring, 1, a, b)
	if err := w.c.Discard(ctx, a, []string{"fd-1"}); err != nil {
		t.Fatal(err)
	}
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 2 {
		t.Fatalf("%v, %v", own, err)
	}
	w.kill()
	w.start()
	w.expect(phase.Restoring, 1, a, b)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 2 {
		t.Fatalf("after a restart: %v, %v", own, err)
	}
	if err := w.c.Discard(ctx, a, nil); err != nil {
		t.Fatal(err)
	}
	w.expect(phase.Restoring, 1, b)
	w.fetch(b, 1)
	w.expect(phase.Idle, 1)
	if in := w.kernel.Incoming(); len(in) != 0 {
		t.Fatalf("still open: %v", in)
	}
	w.update()
}
