package holdings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/loading"
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
	MaxRereadPause = 5 * time.Second
)

// expected says whether this boot is a live update, and which: luod puts that on the
// command line of the kernel that it loads.
func (h *Holdings) expected() (generation uint64, is bool) {
	return kexec.ParseCommandLine(h.machine.CommandLine).Number(loading.Words.Number)
}

// notRestoredLocked keeps what came with err, which says why no more did.
//
// Killed in this state: the record says so, and the next start tries once more with
// the sessions that came back from the fd store.
func (h *Holdings) notRestoredLocked(r *restorer.Restored, err error, started time.Time) {
	sessions := r.Sessions
	if r.Session != nil {
		sessions[manifest.SessionName] = r.Session
	}
	before := h.unread
	h.unread = nil
	if errors.Is(err, restorer.ErrNothing) && len(sessions)+len(h.stuck) == 0 {
		h.noteNothingLocked()
		return
	}
	if errors.Is(err, restorer.ErrTaken) || errors.Is(err, unix.EIO) {
		for name, s := range sessions {
			h.KeepStuckLocked(name, s)
		}
		h.degradeLocked("what the previous kernel handed over could not be restored, and can't be in this boot: %v. Units start without it, and no live update can run until the machine is rebooted", err)
		return
	}
	h.unread = &unread{sessions: sessions, busy: errors.Is(err, unix.EBUSY), pause: rereadPause}
	switch _, is := h.expected(); {
	case !h.unread.busy:
		h.degradeLocked("what the previous kernel handed over could not be restored: %v. Its sessions are kept and nothing is discarded; units that ask for their memory are not started without it ('luoctl discard UNIT' has one do without), and no live update can run until the machine is rebooted or a luod that can read it is started", err)
		return
	case is || len(sessions) > 0:
		h.degradeLocked("what the previous kernel handed over could not be restored yet: %v. Nothing of it is lost, luod tries again by itself, and until then units that ask for their memory are not started without it ('luoctl discard UNIT' has one do without)", err)
	case before == nil:
		h.Log.Warn("could not see whether the previous kernel handed anything over; the command line says that this boot is no live update. Trying again", "error", err)
	}
	if before != nil {
		h.unread.pause = min(2*before.pause, MaxRereadPause)
	}
	h.Clock.AfterFunc(h.unread.pause, func() {
		h.reread(started)
	})
}

func (h *Holdings) degradeLocked(format string, err error) {
	if text := fmt.Sprintf(format, err); text != h.Rec.Degraded {
		h.Rec.Degraded = text
		h.Log.Error(text, catalog.MessageID, catalog.Degraded)
	}
}

// patienceLocked is how long restore waits for the device. When luod starts PID 1 may have
// it open (systemd ≥ 261, for milliseconds); later nobody is served meanwhile.
func (h *Holdings) patienceLocked() time.Duration {
	if h.unread == nil {
		return time.Second
	}
	return time.Millisecond
}

// reread tries once more to restore.
func (h *Holdings) reread(started time.Time) {
	unlock, err := h.LockHoldings(context.Background())
	if err != nil {
		return
	}
	defer unlock()
	if h.unread == nil {
		return // it was given up
	}
	ctx, cancel := context.WithTimeout(context.Background(), state.Briefly)
	defer cancel()
	h.RestoreLocked(ctx, h.unread.sessions, started)
	if h.unread == nil {
		h.restored()
		h.turned.StartLocked(func(unit string) bool { return h.incoming[unit] != nil })
	}
	_ = h.SaveLocked()
}

// missingLocked is why a unit can't be told what is its own, if that isn't known.
func (h *Holdings) missingLocked(unit string) error {
	if h.unread == nil || h.Rec.Degraded == "" || slices.Contains(h.Rec.GivenUp, unit) {
		return nil
	}
	name := errorname.Degraded
	if h.unread.busy {
		name = errorname.NotRestored
	}
	return fault.New(name, "nobody knows yet what %s has here: %s", unit, h.Rec.Degraded)
}
