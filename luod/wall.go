package main

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/liveupdate/luod/luod/internal/pid1"
)

// sessions is where logind notes who is logged in.
const sessions = "/run/systemd/sessions"

// wallTimeout bounds it; the program itself gives up after 5 s.
const wallTimeout = 20 * time.Second

// wall shows text on the terminals of those who are logged in, by a program that
// PID 1 runs: luod may not write there. It returns at once, and does nothing if
// nobody is.
func wall(log *slog.Logger) func(text string) {
	return func(text string) {
		if entries, err := os.ReadDir(sessions); err != nil || len(entries) == 0 {
			return
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), wallTimeout)
			defer cancel()
			if err := (pid1.Units{}).Run(ctx, pid1.Program{
				Unit: "luod-wall.service", Description: "Tell Everybody of a Live Update", Timeout: wallTimeout,
				Argv: []string{"/usr/lib/luod/luod-hooks", "--wall=" + strings.ToValidUTF8(text, "?")},
			}); err != nil {
				log.Warn("could not tell those who are logged in", "error", err)
			}
		}()
	}
}
