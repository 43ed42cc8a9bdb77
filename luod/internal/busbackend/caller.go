package busbackend

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/luod/internal/callers"
)

// unit finds the service that the caller's process belongs to, and counts the call.
func (r *request) unit() (string, error) {
	if r.from == nil {
		return "", fmt.Errorf("%w: luod-bus does not say who calls", errUnidentified)
	}
	var unit string
	var err error
	switch {
	case r.from.Unidentified != nil:
		err = r.from.Unidentified
	case r.pidfd < 0:
		err = fmt.Errorf("%w: luod-bus has no pidfd of who calls", errUnidentified)
	default:
		unit, err = r.Unit(r.pidfd)
		if err != nil && !errors.Is(err, callers.ErrNoUnit) {
			return "", err // which no caller has in its hands
		}
	}
	owner := unit
	if err != nil {
		owner = fmt.Sprintf("user %d", r.from.UID)
	}
	if tooOften := r.Meter.Take(owner, time.Now()); tooOften != nil {
		err = tooOften
	}
	return unit, err
}

// authorize returns nil if the caller may do all the actions: root, which nobody need be
// asked about, or who polkit has allowed it, by luod-bus's word.
//
// A process is root's if it was when it connected, by the bus's look, and is now. The first
// alone is what luod-bus says, who reads what anybody sends. The second alone would be true
// of anybody's process that has connected, called, and then executed a program with the
// set-user-ID bit.
func (r *request) authorize(actions ...string) error {
	switch {
	case r.from == nil:
		return fmt.Errorf("%w: luod-bus does not say who calls", errDenied)
	case r.from.UID == 0 && r.pidfd >= 0 && isRoot(r.pidfd):
		return nil
	case r.from.UID == 0:
		return fmt.Errorf("%w: the process that calls as root is gone, or is not root's any more", errDenied)
	}
	if err := r.Meter.Take(fmt.Sprintf("user %d", r.from.UID), time.Now()); err != nil {
		return err
	}
	if !r.from.May(actions...) {
		return fmt.Errorf("%w: polkit was not asked whether user %d may do %v", errDenied, r.from.UID, actions)
	}
	return nil
}

// isRoot says whether the process behind pidfd, which is borrowed, is root's in all its
// user IDs.
func isRoot(pidfd int) bool {
	ids, err := callers.Users(pidfd)
	return err == nil && ids == callers.IDs{}
}

// vouchRate and vouchBurst bound how often Vouch, which may run a program, is asked
// about connections of one unit: in a second, and in a row.
const vouchRate, vouchBurst = 5, 100

// vouch returns nil if all that the bus knows as process pid is the process called so
// now, which the pidfd is.
func (r *request) vouch(ctx context.Context, b buslink.Bus) error {
	// Who speaks for no unit whichever it is gets no program run.
	unit, err := r.Unit(r.pidfd)
	if err != nil {
		return err
	}
	if harmless, err := r.harmless(ctx); harmless || err != nil {
		return err
	}
	if b.Bus == 0 {
		return fmt.Errorf("%w, and does not tell its own; %s", errUnidentified, instead)
	}
	r.vouching.Lock() // one at a time is what a flood shall get
	defer r.vouching.Unlock()
	r.newCalls.Rate, r.newCalls.Burst = vouchRate, vouchBurst
	if err := r.newCalls.Take(unit+" on new connections", time.Now()); err != nil {
		return err
	}
	if err := r.Vouch(ctx, b.Bus, b.PID); err != nil {
		return fmt.Errorf("%w; %s: %w", errUnidentified, instead, err)
	}
	return nil
}

// harmless says that it doesn't matter who calls: a kernel that can't tell either is
// older than live updates, nothing is held, and nothing can be handed over.
func (r *request) harmless(ctx context.Context) (bool, error) {
	can, err := peers.Supported()
	if err != nil || can {
		return false, err
	}
	status, err := r.Registry.Status(ctx)
	if err != nil {
		return false, err
	}
	if status.Unsupported == "" || status.FileDescriptors > 0 {
		return false, fmt.Errorf("%w; %s: %w", errUnidentified, instead, peers.ErrNotSupported)
	}
	return true, nil
}
