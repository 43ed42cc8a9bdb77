package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/liveupdate/luod/client"
)

// participation is what keeper tells luod of its part in updates.
type participation struct {
	client.Participation
	register bool
	session  bool
}

// answer does when it is asked what the file UNIT.mode in the report's directory
// says: "hang", or "veto REASON", or else to be ready after a moment. What it was
// told goes into the file "told", so that a test sees the order.
func (p participation) answer(luod *client.Client, events <-chan client.Event, unit, out string) {
	for e := range events {
		what := "cancelled"
		if e.Prepare {
			what = "prepare"
		}
		note(out, unit, what)
		if !e.Prepare {
			continue
		}
		mode, _ := os.ReadFile(filepath.Join(out, unit+".mode"))
		verb, rest, _ := strings.Cut(strings.TrimSpace(string(mode)), " ")
		ctx, cancel := context.WithDeadline(context.Background(), e.Deadline)
		var err error
		switch verb {
		case "hang":
		case "veto":
			err = luod.Fail(ctx, rest)
		default:
			time.Sleep(50 * time.Millisecond) // so that others could overtake it
			note(out, unit, "ready")
			err = luod.Ready(ctx)
		}
		cancel()
		if err != nil {
			log.Print("answer luod: ", err)
		}
	}
}

func note(out, unit, what string) {
	f, err := os.OpenFile(filepath.Join(out, "told"), os.O_CREATE|os.O_APPEND|os.O_WRONLY|os.O_SYNC, 0o644)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Fprintln(f, unit, what)
	f.Close()
}
