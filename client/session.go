package client

import (
	"context"
	"os"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// CreateSession makes a LUO session for this unit, or finds the one of this name
// that it made before, and returns its descriptor, which the caller owns and
// preserves files in by itself (linux/liveupdate.h:
// LIVEUPDATE_SESSION_PRESERVE_FD). luod keeps it alive through restarts of the unit
// until ReleaseSession, and carries it over the next update. Names are as in
// Preserve. The error wraps an *Error: SessionWaiting if one of this name came
// through an update and is not released.
func (c *Client) CreateSession(ctx context.Context, name string) (*os.File, error) {
	return c.session(ctx, "CreateSession", name)
}

// RetrieveSession returns the descriptor of a session that came through an update,
// as often as it is asked; the caller owns it, and retrieves what is in it by itself
// (LIVEUPDATE_SESSION_RETRIEVE_FD). No further update is possible until
// ReleaseSession. The error wraps an *Error: NoSuchSession if none came.
func (c *Client) RetrieveSession(ctx context.Context, name string) (*os.File, error) {
	return c.session(ctx, "RetrieveSession", name)
}

// ReleaseSession gives a session up; when the caller has closed its descriptors
// too, the kernel lets go of what is still in it.
func (c *Client) ReleaseSession(ctx context.Context, name string) error {
	return c.call(ctx, "ReleaseSession", name).Err
}

func (c *Client) session(ctx context.Context, method, name string) (*os.File, error) {
	var fd dbus.UnixFD
	call := c.call(ctx, method, name)
	if err := call.Store(&fd); err != nil {
		drop(call)
		return nil, err
	}
	unix.CloseOnExec(int(fd))
	return os.NewFile(uintptr(fd), name), nil
}
