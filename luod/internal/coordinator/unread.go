package coordinator

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/luo"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/state"
)

// unread is a handover that could not be restored yet: its sessions are open here, or
// still in the kernel.
type unread struct {
	sessions map[string]*luo.Session
	// busy says that somebody else has the device open, and pause how long luod waits
	// until it tries again.
	busy  bool
	pause time.Duration
}

// The first pause and the longest. Whoever waits for its memory waits for them, and
// so little work may be done often.
const (
	rereadPause    = 250 * time.Millisecond
	maxRereadPause = 5 * time.Second
)

// expected says whether this boot is a live update, and which: luod puts that on the
// command line of the kernel that it loads.
func (c *Coordinator) expected() (generation uint64, is bool) {
	return kexec.ParseCommandLine(c.Machine.CommandLine).Generation()
}

// notRestoredLocked keeps what came with err, which says why no more did.
//
// Killed in this state: the record says so, and the next start tries once more with
// the sessions that came back from the fd store.
func (c *Coordinator) notRestoredLocked(r *restorer.Restored, err error, started time.Time) {
	sessions := r.Sessions
	if r.Session != nil {
		sessions[manifest.SessionName] = r.Session
	}
	before := c.unread
	c.unread = nil
	if errors.Is(err, restorer.ErrNothing) && len(sessions)+len(c.stuck) == 0 {
		c.noteNothingLocked()
		return
	}
	if errors.Is(err, restorer.ErrTaken) || errors.Is(err, unix.EIO) {
		for name, s := range sessions {
			c.keepStuckLocked(name, s)
		}
		c.degradeLocked("what the previous kernel handed over could not be restored, and can't be in this boot: %v. Units start without it, and no live update can run until the machine is rebooted", err)
		return
	}
	c.unread = &unread{sessions: sessions, busy: errors.Is(err, unix.EBUSY), pause: rereadPause}
	switch _, is := c.expected(); {
	case !c.unread.busy:
		c.degradeLocked("what the previous kernel handed over could not be restored: %v. Its sessions are kept and nothing is discarded; units that ask for their memory are not started without it ('luoctl discard UNIT' has one do without), and no live update can run until the machine is rebooted or a luod that can read it is started", err)
		return
	case is || len(sessions) > 0:
		c.degradeLocked("what the previous kernel handed over could not be restored yet: %v. Nothing of it is lost, luod tries again by itself, and until then units that ask for their memory are not started without it ('luoctl discard UNIT' has one do without)", err)
	case before == nil:
		c.Log.Warn("could not see whether the previous kernel handed anything over; the command line says that this boot is no live update. Trying again", "error", err)
	}
	if before != nil {
		c.unread.pause = min(2*before.pause, maxRereadPause)
	}
	c.Clock.AfterFunc(c.unread.pause, func() {
		c.reread(started)
	})
}

func (c *Coordinator) degradeLocked(format string, err error) {
	if text := fmt.Sprintf(format, err); text != c.Rec.Degraded {
		c.Rec.Degraded = text
		c.Log.Error(text, catalog.MessageID, catalog.Degraded)
	}
}

// patienceLocked is how long restore waits for the device. When luod starts PID 1 may have
// it open (systemd ≥ 261, for milliseconds); later nobody is served meanwhile.
func (c *Coordinator) patienceLocked() time.Duration {
	if c.unread == nil {
		return time.Second
	}
	return time.Millisecond
}

// reread tries once more to restore.
func (c *Coordinator) reread(started time.Time) {
	unlock, err := c.LockHoldings(context.Background())
	if err != nil {
		return
	}
	defer unlock()
	if c.unread == nil {
		return // it was given up
	}
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	c.restoreLocked(ctx, c.unread.sessions, started)
	if c.unread == nil {
		c.restoredLocked()
		c.rouseLocked()
	}
	_ = c.SaveLocked()
}

// missingLocked is why a unit can't be told what is its own, if that isn't known.
func (c *Coordinator) missingLocked(unit string) error {
	if c.unread == nil || c.Rec.Degraded == "" || slices.Contains(c.Rec.GivenUp, unit) {
		return nil
	}
	name := errorname.Degraded
	if c.unread.busy {
		name = errorname.NotRestored
	}
	return fault.New(name, "nobody knows yet what %s has here: %s", unit, c.Rec.Degraded)
}
