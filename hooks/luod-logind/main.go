// Command luod-logind asks logind on luod's behalf what only root may ask, so that luod has
// no connection to a bus on which others can send. luod starts it when it wants to know
// something, and it ends when it has answered; it dies with luod. Of all that comes over
// the bus it reads the replies to its own calls alone.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/journallog"
	"github.com/liveupdate/luod/internal/logind"
)

// memoryLimit makes the collector work harder above so many bytes.
const memoryLimit = 32 << 20

func main() {
	// luod itself is exempt from the OOM killer; this is one to kill.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("0"), 0)
	debug.SetMemoryLimit(memoryLimit)
	signal.Ignore(syscall.SIGPIPE)
	if len(os.Args) != 2 {
		usage()
	}
	bin := &foreign.Bin{Log: slog.New(journallog.New(os.Stderr))}
	m := &manager{dial: func(ctx context.Context) (*busconn.Conn, error) {
		return busconn.Dial(ctx, busconn.SystemBus(), bin, nil)
	}}
	answer, is := m.answer(context.Background(), os.Args[1])
	if !is {
		usage()
	}
	if err := json.NewEncoder(os.Stdout).Encode(answer); err != nil {
		fmt.Fprintln(os.Stderr, "luod-logind:", err)
		os.Exit(1)
	}
}

func usage() {
	fmt.Fprintln(os.Stderr, "luod-logind works for luod, which runs it with one of", logind.Inhibitors+",", logind.Reboot+",", logind.Preparing, "and", logind.Watch+"; use luoctl(1)")
	os.Exit(2)
}
