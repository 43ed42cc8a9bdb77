package sdnotify

import (
	"context"
	"errors"
	"strings"
)

// Say tells PID 1 in STATUS= (sd_notify(3)) what became of this process, and
// returns when PID 1 has heard it: it hears nothing of a process that is gone.
// Without a service manager it does nothing.
func Say(ctx context.Context, text string) error {
	manager, err := New()
	if errors.Is(err, ErrNoManager) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := manager.Notify("STATUS=" + strings.ReplaceAll(text, "\n", "; ")); err != nil {
		return err
	}
	return manager.Barrier(ctx)
}
