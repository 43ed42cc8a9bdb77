package coordinator

import (
	"context"
	"errors"
	"testing"

	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Who calls while luod stops is told so by name, and calls again: it is no refusal.
func TestACallThatMeetsLuodsStopIsToldSo(t *testing.T) {
	w := newWorld(t)
	w.c.Close()
	err := w.c.Ready(context.Background(), "a.service")
	var said *fault.Fault
	if !errors.As(err, &said) || said.Name != "Stopping" || !errors.Is(err, state.ErrStopped) {
		t.Errorf("got %v", err)
	}
}
