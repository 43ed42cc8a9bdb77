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

	"github.com/liveupdate/luod/internal/helperprotocol"
)

func TestLuodIsAskedUntilItKnows(t *testing.T) {
	soon := &helperprotocol.Refused{Reason: "NotRestored", Text: "t"}
	never := &helperprotocol.Refused{Reason: "Degraded", Text: "t"}
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
				luod := caller{dial: func(context.Context) (*helperprotocol.Conversation, error) {
					dials++
					return new(helperprotocol.Conversation), nil
				}}
				defer luod.close()
				err := luod.ask(ctx, func(*helperprotocol.Conversation) error {
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
	luod := caller{dial: func(context.Context) (*helperprotocol.Conversation, error) { return nil, unix.ECONNREFUSED }}
	err := luod.ask(t.Context(), func(*helperprotocol.Conversation) error { panic("nobody was reached") })
	if !errors.Is(err, unix.ECONNREFUSED) || !mayBeWaiting(err) {
		t.Errorf("unreachable: %v", err)
	}
	for err, want := range map[error]bool{
		io.EOF: true,
		&helperprotocol.Refused{Reason: "NotRestored"}: true, &helperprotocol.Refused{Reason: "Degraded"}: true,
		&helperprotocol.Refused{Reason: "NoUnit"}: false, unix.EIO: false,
	} {
		if mayBeWaiting(err) != want {
			t.Errorf("%v: want %t", err, want)
		}
	}
	for err, want := range map[error]bool{
		&helperprotocol.Refused{Reason: "NoUnit"}: true, fmt.Errorf("ask: %w", &helperprotocol.Refused{Reason: "Unidentified"}): true,
		&helperprotocol.Refused{Reason: "Busy"}: false, io.EOF: false,
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
	luod := caller{dial: func(context.Context) (*helperprotocol.Conversation, error) {
		dials++
		return new(helperprotocol.Conversation), nil
	}}
	defer luod.close()
	for range 3 {
		if err := luod.ask(t.Context(), func(*helperprotocol.Conversation) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if dials != 1 {
		t.Errorf("%d conversations", dials)
	}
}
