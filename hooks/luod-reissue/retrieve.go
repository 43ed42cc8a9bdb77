package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/helperprotocol"
)

// askAgain is how soon luod is asked once more.
const askAgain = 250 * time.Millisecond

// caller asks luod, and asks again if it is restarted meanwhile.
type caller struct {
	dial func(ctx context.Context) (*helperprotocol.Conversation, error)
	// now is the conversation that is open, or nil.
	now *helperprotocol.Conversation
}

// ask has luod do what, perhaps twice: Preserve is then refused for names that luod
// has, and the next start gets them. While luod can't say yet
// what came through an update (NotRestored), and after a conversation that broke, it
// begins another, until ctx ends.
func (c *caller) ask(ctx context.Context, what func(*helperprotocol.Conversation) error) error {
	for waiting := false; ; {
		if c.now == nil {
			var err error
			if c.now, err = c.dial(ctx); err != nil {
				c.now = nil
				return unreachable{err}
			}
		}
		err := what(c.now)
		if refusal(err) != "NotRestored" && !broken(err) {
			return err
		}
		c.close() // luod holds few at a time
		if !waiting {
			waiting = true
			fmt.Fprintln(os.Stderr, "luod-reissue: waiting:", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(askAgain):
		}
	}
}

func (c *caller) close() {
	if c.now != nil {
		c.now.Close()
		c.now = nil
	}
}

// retrieve gets what the unit has at luod; the files are the caller's, even with an
// error.
func (c *caller) retrieve(ctx context.Context) (unit string, names []string, files []*os.File, err error) {
	err = c.ask(ctx, func(luod *helperprotocol.Conversation) (err error) {
		helperprotocol.Close(files)
		names, files, err = luod.Retrieve()
		unit = luod.Unit
		return err
	})
	return unit, names, files, err
}

// unreachable is why there is no conversation.
type unreachable struct{ error }

func (u unreachable) Unwrap() error { return u.error }

// mayBeWaiting says whether err leaves open what luod has for the unit: it could not
// be reached, or does not know.
func mayBeWaiting(err error) bool {
	reason := refusal(err)
	return errors.As(err, new(unreachable)) || broken(err) || reason == "NotRestored" || reason == "Degraded"
}

// stranger says whether err is of a luod that can't tell whose memory this would be.
func stranger(err error) bool {
	return slices.Contains([]string{helperprotocol.NoUnit, helperprotocol.Unidentified}, refusal(err))
}

// broken says whether err is of a conversation whose other end is gone.
func broken(err error) bool {
	return slices.ContainsFunc([]error{io.EOF, unix.EPIPE, unix.ECONNRESET}, func(target error) bool { return errors.Is(err, target) })
}

// refusal is the reason of luod's no, empty if err is something else.
func refusal(err error) string {
	if r := (*helperprotocol.Refused)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return ""
}
