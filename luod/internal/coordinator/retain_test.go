package coordinator

import (
	"testing"
	"time"
)

func TestWhatNobodyFetchesIsKept(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 2)
	w.update()
	w.reboot()
	w.clock.advance(1000 * time.Hour)
	w.expect(Restoring, 1, a)
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
	w.expect(Restoring, 1, a)
	w.clock.advance(2 * time.Minute)
	w.expect(Idle, 1)
	if own, err := w.c.Own(ctx, a); err != nil || len(own) != 0 {
		t.Fatalf("%v, %v", own, err)
	}
	if own, err := w.c.Own(ctx, b); err != nil || len(own) != 1 {
		t.Fatalf("%v, %v", own, err)
	}
}
