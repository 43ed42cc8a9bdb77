package coordinator

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/descriptor"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/state"
)

// holdTwice has a second process hold the sessions. PID 1's fd store ends when
// systemd-shutdown takes its place, and nobody restarts luod after that: from then on a
// luod that dies would take all memory with it.
//
// A fast jump needs none: PID 1 is there until the kernel jumps, and its end is the
// kernel's.
//
// Killed meanwhile: the next start ends the second process before it takes the update
// back.
func (c *Coordinator) holdTwice(u *update, result outgoing) error {
	if err := c.inside(u, func() error { c.outgoing, u.heldTwice = result, true; return nil }); err != nil {
		return err
	}
	if err := c.Units.StartHolder(u.ctx); err != nil {
		return fault.New(errorname.WouldNotSurvive, "no live update is possible: %s, which holds the sessions in case that luod dies during the shutdown, does not start: %w", pid1.HolderUnit, err)
	}
	return nil
}

// letHoldersGo ends the second process, without which nothing stays preserved once luod
// lets go, and tries again until it is gone; no update begins before that.
func (c *Coordinator) letHoldersGo() {
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	err := c.Units.StopHolder(ctx)
	c.holderLeft.Store(err != nil)
	if err == nil {
		return
	}
	c.Log.Error("a second process may still hold the sessions, and memfds in them can't change their size until it has ended; luod tries again to stop "+pid1.HolderUnit, "error", err)
	c.Clock.AfterFunc(holderInterval, func() {
		select {
		case <-c.Closed():
		default:
			c.letHoldersGo()
		}
	})
}

// holderInterval is how soon it is tried again to end the second process.
const holderInterval = 10 * time.Second

// Sessions returns duplicates of all sessions for the next kernel, to the one program
// that holds them too. Whoever has the holdings.Fetch owns them.
func (c *Coordinator) Sessions(ctx context.Context, caller string) (holdings.Fetch, error) {
	if caller != pid1.HolderUnit {
		return holdings.Fetch{}, fault.New(errorname.NotPreparing, "%s may not hold sessions", caller)
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return holdings.Fetch{}, err
	}
	defer unlock()
	if c.outgoing == nil {
		return holdings.Fetch{}, fault.New(errorname.NotPreparing, "there are no sessions to be held: no live update is packed")
	}
	sessions := c.outgoing.Sessions()
	maps.Copy(sessions, c.OutgoingLocked())
	return duplicates(sessions)
}

// duplicates are new descriptors of sessions, by their names.
func duplicates(sessions map[string]*luo.Session) (holdings.Fetch, error) {
	var f holdings.Fetch
	for name, s := range sessions {
		file, err := descriptor.Dup(s.File(), name)
		if err != nil {
			f.Close()
			return holdings.Fetch{}, fmt.Errorf("lend the session %q: %w", name, err)
		}
		f.Names, f.Files = append(f.Names, name), append(f.Files, file)
	}
	return f, nil
}
