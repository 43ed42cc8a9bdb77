package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/liveupdate/luod/luod/wire"
)

// askAgain is how soon luod is asked once more.
const askAgain = 250 * time.Millisecond

// retrieve gets what the unit has at luod, whose answer ask is. While luod can't say
// yet what came through an update (NotRestored) it asks again, until ctx ends.
func retrieve(ctx context.Context, ask func() ([]string, []*os.File, error)) ([]string, []*os.File, error) {
	for waiting := false; ; {
		names, files, err := ask()
		if refusal(err) != "NotRestored" {
			return names, files, err
		}
		wire.Close(files)
		if !waiting {
			waiting = true
			fmt.Fprintln(os.Stderr, "luod-reissue: waiting:", err)
		}
		select {
		case <-ctx.Done():
			return nil, nil, err
		case <-time.After(askAgain):
		}
	}
}

// refusal is the reason of luod's no, empty if err is something else.
func refusal(err error) string {
	if r := (*wire.Refused)(nil); errors.As(err, &r) {
		return r.Reason
	}
	return ""
}
