package coordinator

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// hooksProgram runs the hooks.
const hooksProgram = "/usr/lib/luod/luod-hooks"

// hooksTimeout is what all hooks of a phase may take together.
const hooksTimeout = 10 * time.Minute

// hooks runs those of a phase, and waits for them.
func (c *Coordinator) hooks(ctx context.Context, phase string, generation uint64, environment ...string) error {
	if c.Hooks == nil || !c.Hooks() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, hooksTimeout)
	defer cancel()
	return c.Units.Run(ctx, pid1.Program{
		Unit:        fmt.Sprintf("luod-hooks-%s-%d.service", phase, generation),
		Description: fmt.Sprintf("Hooks of Live Update %d (%s)", generation, phase),
		Argv:        []string{hooksProgram, "--timeout=" + c.Settings.HookTimeout.String(), phase, fmt.Sprint(generation)},
		Environment: clean(append(environment, "LUOD_KERNEL="+c.Machine.Release)),
		Timeout:     hooksTimeout,
	})
}

// prepareHooks asks the hooks whether an update may go on.
//
// Killed meanwhile: the record says that hooks have heard of the update, and the
// next start tells them that it was taken back.
func (c *Coordinator) prepareHooks(u *update) error {
	if c.Hooks == nil || !c.Hooks() {
		return nil
	}
	var environment []string
	if err := c.inside(u, func() error {
		environment = u.environment(c.Rec.Loaded)
		c.Rec.Hooked = true
		if err := c.SaveLocked(); err != nil {
			return fault.New(errorname.NoRecord, "run the hooks: %w", err)
		}
		return nil
	}); err != nil {
		return err
	}
	if err := c.hooks(u.ctx, "prepare", u.generation, environment...); err != nil {
		return fault.New(errorname.Vetoed, "a hook refuses the live update: %w", err)
	}
	return nil
}

// commitHooks tells the hooks that the jump is next. What they say is logged and
// changes nothing.
func (c *Coordinator) commitHooks(u *update) {
	var environment []string
	err := c.inside(u, func() error { environment = u.environment(c.Rec.Loaded); return nil })
	if err == nil {
		err = c.hooks(u.ctx, "commit", u.generation, environment...)
	}
	if err != nil {
		c.Log.Warn("a hook failed before the commit; the live update goes on", "reason", err)
	}
}

func (u *update) environment(loaded *record.Loaded) []string {
	environment := []string{"LUOD_MESSAGE=" + u.options.Message, fmt.Sprintf("LUOD_FAST=%t", u.options.Fast)}
	if loaded != nil {
		environment = append(environment, "LUOD_NEXT_KERNEL="+loaded.Release)
	}
	return environment
}

// oweLocked notes that hooks are to be told something; pay tells them once that is
// written down.
func (c *Coordinator) oweLocked(phase string, generation uint64, environment ...string) {
	if c.Hooks != nil && c.Hooks() {
		c.Rec.Owed = append(c.Rec.Owed, record.Owed{Phase: phase, Generation: generation, Environment: environment})
	}
}

// payLocked tells the hooks what they are owed, in order.
//
// Killed meanwhile: the next start tells them, some perhaps a second time.
func (c *Coordinator) payLocked() {
	if c.paying || len(c.Rec.Owed) == 0 {
		return
	}
	c.paying = true
	next := c.Rec.Owed[0]
	go func() {
		err := c.hooks(context.Background(), next.Phase, next.Generation, next.Environment...)
		unlock, stopped := c.Lock(context.Background())
		if stopped != nil {
			return
		}
		defer unlock()
		if err != nil {
			c.Log.Warn("a hook failed", "phase", next.Phase, "reason", err)
		}
		c.paying = false
		c.Rec.Owed = c.Rec.Owed[1:]
		_ = c.SaveLocked()
		c.payLocked()
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
