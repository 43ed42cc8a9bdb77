package main

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/liveupdate/luod/luod/wire"
)

func TestRetrieveWaitsUntilLuodKnows(t *testing.T) {
	soon := &wire.Refused{Reason: "NotRestored", Text: "t"}
	for name, c := range map[string]struct {
		answers []error
		want    error
		asked   int
	}{
		"at once":           {[]error{nil}, nil, 1},
		"after a while":     {[]error{soon, soon, soon, nil}, nil, 4},
		"never in time":     {nil, soon, 5},
		"it won't be known": {[]error{soon, &wire.Refused{Reason: "Degraded", Text: "t"}}, &wire.Refused{Reason: "Degraded", Text: "t"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 4*askAgain+time.Millisecond)
				defer cancel()
				asked := 0
				names, _, err := retrieve(ctx, func() ([]string, []*os.File, error) {
					asked++
					if asked > len(c.answers) {
						return nil, nil, soon
					}
					if err := c.answers[asked-1]; err != nil {
						return nil, nil, err
					}
					return []string{"x"}, nil, nil
				})
				var got, want *wire.Refused
				errors.As(c.want, &want)
				if errors.As(err, &got) != (want != nil) || got != nil && *got != *want || (err == nil) != (len(names) == 1) {
					t.Errorf("got %q, %v, want %v", names, err, c.want)
				}
				if asked != c.asked {
					t.Errorf("asked %d times, want %d", asked, c.asked)
				}
			})
		})
	}
}
