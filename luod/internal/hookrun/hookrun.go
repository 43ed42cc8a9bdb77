package hookrun

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// Units runs programs.
type Units interface {
	// Run runs a program with its privileges, and waits for it.
	Run(ctx context.Context, p pid1.Program) error
}

// Runner runs hooks.
type Runner struct {
	State *state.State
	Units Units
	// There says whether there are any hooks; nil means that there are none.
	There func() bool
	// Timeout is what one hook may take, and Release the running kernel's.
	Timeout time.Duration
	Release string

	// paying says that hooks are being told what they are owed.
	paying bool
}

// Any says whether there are hooks.
func (r *Runner) Any() bool { return r.There != nil && r.There() }

// hooksProgram runs the hooks.
const hooksProgram = "/usr/lib/luod/luod-hooks"

// hooksTimeout is what all hooks of a phase may take together.
const hooksTimeout = 10 * time.Minute

// Run runs those of a phase, and waits for them.
func (r *Runner) Run(ctx context.Context, phase string, generation uint64, environment ...string) error {
	if !r.Any() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hooksTimeout)
	defer cancel()
	return r.Units.Run(ctx, pid1.Program{
		Unit:        fmt.Sprintf("luod-hooks-%s-%d.service", phase, generation),
		Description: fmt.Sprintf("Hooks of Live Update %d (%s)", generation, phase),
		Argv:        []string{hooksProgram, "--timeout=" + r.Timeout.String(), phase, fmt.Sprint(generation)},
		Environment: clean(append(environment, "LUOD_KERNEL="+r.Release)),
		Timeout:     hooksTimeout,
	})
}

// OweLocked notes that hooks are to be told something; PayLocked tells them once that is
// written down.
func (r *Runner) OweLocked(phase string, generation uint64, environment ...string) {
	if r.Any() {
		r.State.Rec.Owed = append(r.State.Rec.Owed, record.Owed{Phase: phase, Generation: generation, Environment: environment})
	}
}

// PayLocked tells the hooks what they are owed, in order.
//
// Killed meanwhile: the next start tells them, some perhaps a second time.
func (r *Runner) PayLocked() {
	if r.paying || len(r.State.Rec.Owed) == 0 {
		return
	}
	r.paying = true
	next := r.State.Rec.Owed[0]
	go func() {
		err := r.Run(context.Background(), next.Phase, next.Generation, next.Environment...)
		unlock, stopped := r.State.Lock(context.Background())
		if stopped != nil {
			return
		}
		defer unlock()
		if err != nil {
			r.State.Log.Warn("a hook failed", "phase", next.Phase, "reason", err)
		}
		r.paying = false
		r.State.Rec.Owed = r.State.Rec.Owed[1:]
		_ = r.State.SaveLocked()
		r.PayLocked()
	}()
}

// clean takes out what PID 1 takes in no variable (systemd.exec(5), Environment=).
func clean(environment []string) []string {
	for i, e := range environment {
		environment[i] = strings.Map(func(r rune) rune {
			if unicode.IsControl(r) && r != '\n' && r != '\t' {
				return '?'
			}
			return r
		}, strings.ToValidUTF8(e, "?"))
	}
	return environment
}
