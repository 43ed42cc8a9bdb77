package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/wire"
)

func TestLuodIsAskedUntilItKnows(t *testing.T) {
	soon := &wire.Refused{Reason: "NotRestored", Text: "t"}
	never := &wire.Refused{Reason: "Degraded", Text: "t"}
	gone := fmt.Errorf("wait for luod's answer: %w", io.EOF)
	for name, c := range map[string]struct {
		answers      []error
		want         error
		asked, dials int
	}{
		"at once":             {[]error{nil}, nil, 1, 1},
		"after a while":       {[]error{soon, soon, soon, nil}, nil, 4, 4},
		"never in time":       {nil, soon, 5, 5},
		"it won't be known":   {[]error{soon, never}, never, 2, 2},
		"luod is restarted":   {[]error{gone, fmt.Errorf("ask: %w", unix.EPIPE), nil}, nil, 3, 3},
		"another error":       {[]error{unix.EIO}, unix.EIO, 1, 1},
		"restarted, and more": {[]error{gone, soon, nil}, nil, 3, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*askAgain+time.Millisecond)
				defer cancel()
				asked, dials := 0, 0
				luod := caller{dial: func(context.Context) (*wire.Conversation, error) {
					dials++
					return new(wire.Conversation), nil
				}}
				defer luod.close()
				err := luod.ask(ctx, func(*wire.Conversation) error {
					asked++
					if asked > len(c.answers) {
						return soon
					}
					return c.answers[asked-1]
				})
				if !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("got %v, want %v", err, c.want)
				}
				if asked != c.asked || dials != c.dials {
					t.Errorf("asked %d times in %d conversations, want %d in %d", asked, dials, c.asked, c.dials)
				}
			})
		})
	}
}

func TestWhatLeavesOpenWhatLuodHas(t *testing.T) {
	luod := caller{dial: func(context.Context) (*wire.Conversation, error) { return nil, unix.ECONNREFUSED }}
	err := luod.ask(t.Context(), func(*wire.Conversation) error { panic("nobody was reached") })
	if !errors.Is(err, unix.ECONNREFUSED) || !mayBeWaiting(err) {
		t.Errorf("unreachable: %v", err)
	}
	for err, want := range map[error]bool{
		io.EOF:                               true,
		&wire.Refused{Reason: "NotRestored"}: true, &wire.Refused{Reason: "Degraded"}: true,
		&wire.Refused{Reason: "NoUnit"}: false, unix.EIO: false,
	} {
		if mayBeWaiting(err) != want {
			t.Errorf("%v: want %t", err, want)
		}
	}
	for err, want := range map[error]bool{
		&wire.Refused{Reason: "NoUnit"}: true, fmt.Errorf("ask: %w", &wire.Refused{Reason: "Unidentified"}): true,
		&wire.Refused{Reason: "Busy"}: false, io.EOF: false,
	} {
		if stranger(err) != want {
			t.Errorf("%v: a stranger: want %t", err, want)
		}
	}
	if mayBeWaiting(nil) || stranger(nil) {
		t.Error("all is well, and something may be waiting")
	}
}

func TestAConversationGoesOn(t *testing.T) {
	dials := 0
	luod := caller{dial: func(context.Context) (*wire.Conversation, error) {
		dials++
		return new(wire.Conversation), nil
	}}
	defer luod.close()
	for range 3 {
		if err := luod.ask(t.Context(), func(*wire.Conversation) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 1 {
		t.Errorf("%d conversations", dials)
	}
}
