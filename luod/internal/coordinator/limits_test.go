package coordinator

import "testing"

// An admin may lower the limits between two boots.
func TestNoLimitCostsAUnitWhatCameThrough(t *testing.T) {
	w := newWorld(t)
	w.preserve(a, 3)
	w.update()
	w.settings.FileDescriptorsMax, w.settings.BytesMax = 1, 1
	w.reboot()
	w.expect(Restoring, 1, a)
	if status, err := w.c.Status(ctx); err != nil || len(status.Lost) != 0 {
		t.Errorf("lost: %+v, %v", status.Lost, err)
	}
	w.fetch(a, 3)
	w.expect(Idle, 1)
}
