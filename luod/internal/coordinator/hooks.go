package coordinator

import (
	"fmt"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
)

// prepareHooks asks the hooks whether an update may go on.
//
// Killed meanwhile: the record says that hooks have heard of the update, and the
// next start tells them that it was taken back.
func (c *Coordinator) prepareHooks(u *update) error {
	if !c.hooks.Any() {
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
	if err := c.hooks.Run(u.ctx, "prepare", u.generation, environment...); err != nil {
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
		err = c.hooks.Run(u.ctx, "commit", u.generation, environment...)
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
