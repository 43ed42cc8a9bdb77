package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
)

// The bus is full for a moment when many services hand over at once.
const (
	fullAttempts = 8
	fullPause    = 10 * time.Millisecond
)

// knowPause is how soon luod is asked again that does not know yet what it has.
const knowPause = 250 * time.Millisecond

// A luod or a bus that is away is tried again after pauses between these.
const (
	awayPause    = 100 * time.Millisecond
	awayPauseMax = time.Second
)

// absent is how long a luod is waited for that was never there and that the bus can't
// have started: most likely it is not installed, and the service wants to go on.
const absent = 2 * time.Second

// waiting decides about repeating one call.
type waiting struct {
	c     *Client
	ctx   context.Context
	full  int
	pause time.Duration
	// since is when luod was found away, zero while it is there.
	since time.Time
}

func (c *Client) wayToWait(ctx context.Context) *waiting { return &waiting{c: c, ctx: ctx} }

// again waits for a while after a call that failed with err, and says whether to send it
// once more: while the other side's queue is full, for some times; while luod does not
// know yet what it has, until ctx ends; and while nobody is there or nobody answers, until
// ctx ends or, without a deadline, the client's patience.
func (w *waiting) again(err error) bool {
	var pause time.Duration
	v := judge(err)
	switch v {
	case done, refused:
		return false
	case full:
		if w.full == fullAttempts {
			return false
		}
		pause = fullPause << w.full
		w.full++
	case early:
		pause = knowPause
		w.since, w.pause = time.Time{}, 0
	case away, unknown:
		if w.since.IsZero() {
			w.since = time.Now()
		}
		if time.Since(w.since) >= w.limit(err) {
			return false
		}
		w.pause = min(max(2*w.pause, awayPause), awayPauseMax)
		pause = w.pause
	}
	select {
	case <-w.ctx.Done():
		return false
	case <-w.c.ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// limit is for how long calls are repeated that fail with err.
func (w *waiting) limit(err error) time.Duration {
	var remote dbus.Error
	if !w.c.seen.Load() && errors.As(err, &remote) && remote.Name == notThere {
		return min(absent, w.c.patience)
	}
	if _, is := w.ctx.Deadline(); is {
		return 1<<63 - 1
	}
	return w.c.patience
}

// over adds to the error of a call that is not repeated any more why that is so.
func (w *waiting) over(err error) error {
	if v := judge(err); v == done || v == refused || ending(err) != nil {
		return err
	}
	if ended := w.ctx.Err(); ended != nil {
		return fmt.Errorf("%w (%w)", err, ended)
	}
	return err
}

// meet notes that luod was there, if an answer or the lack of it says so.
func (c *Client) meet(err error) {
	var remote dbus.Error
	if err == nil || errors.As(err, &remote) && (strings.HasPrefix(remote.Name, errorname.Prefix) || judgeName(remote.Name) == unknown) {
		c.seen.Store(true)
	}
}
