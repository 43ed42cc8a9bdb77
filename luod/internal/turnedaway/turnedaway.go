package turnedaway

import (
	"context"
	"slices"
	"time"

	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
)

// PID1 is asked about units, and starts them.
type PID1 interface {
	// Look tells of each of these whether it runs.
	Look(ctx context.Context, units []string) (map[string]pid1.Running, error)
	// Start starts those that don't run, and waits.
	Start(ctx context.Context, units []string) error
}

// Units are those that asked in vain; the record has them.
type Units struct {
	state *state.State
	pid1  PID1
	// timeout is what their start may take.
	timeout time.Duration
}

// New adds nobody to those that the record has.
func New(s *state.State, p PID1, timeout time.Duration) *Units { return &Units{s, p, timeout} }

// NoteLocked notes who asked in vain, because nobody knows yet what it has here.
func (t *Units) NoteLocked(unit string) {
	if !slices.Contains(t.state.Rec.Turned, unit) {
		t.state.Rec.Turned = append(t.state.Rec.Turned, unit)
		_ = t.state.SaveLocked()
	}
}

// StartLocked starts those that asked in vain, and failed of it, and has something here
// after all.
//
// Killed meanwhile: they stay failed, and an admin's start gets them everything.
func (t *Units) StartLocked(has func(unit string) bool) {
	var units []string
	for _, unit := range t.state.Rec.Turned {
		if has(unit) {
			units = append(units, unit)
		}
	}
	t.state.Rec.Turned = nil
	if len(units) == 0 {
		return
	}
	t.state.Background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), t.timeout)
		defer cancel()
		running, err := t.pid1.Look(ctx, units)
		if err == nil {
			units = slices.DeleteFunc(units, func(unit string) bool { return running[unit].State != "failed" })
			err = t.pid1.Start(ctx, units)
		}
		if err != nil {
			t.state.Log.Error("could not start what had failed while its memory could not be restored yet; start it with 'systemctl start'", "units", units, "error", err)
		}
	})
}
