// Command luod-bus is luod's on the system bus: it owns org.luod.LiveUpdate1, reads what
// anybody sends there, and passes on to luod what is a call. It has no privilege and holds
// nothing, so that whatever is done to it costs nobody's memory. It may be killed at any
// moment: calls under way then have no reply, and luod tells the next one all it needs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/journallog"
	"github.com/liveupdate/luod/internal/sdnotify"
)

// memoryLimit makes the collector work harder above so many bytes, which is before luod-bus
// has what MemoryMax= of its unit lets it have.
const memoryLimit = 96 << 20

// version is set by the linker.
var version = "dev"

func main() {
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: luod-bus [--version]\n\nluod on the system bus. luod-bus.service starts it; use luoctl(1) to talk to luod.")
	}
	flag.Parse()
	if *showVersion {
		fmt.Println("luod-bus", version)
		return
	}
	debug.SetMemoryLimit(memoryLimit)
	signal.Ignore(syscall.SIGPIPE)
	log := slog.New(journallog.New(os.Stderr))
	if flag.NArg() > 0 {
		log.Error("luod-bus takes no arguments", "arguments", flag.Args())
		os.Exit(2)
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	if err := ready(); err != nil {
		log.Error("luod-bus can't go on", "error", err)
		os.Exit(1)
	}
	bin := &foreign.Bin{Log: log}
	server := &busserver.Server{
		Log: log, Bin: bin,
		Luod: func() (*buslink.Socket, error) { return buslink.Dial(buslink.Path) },
		Bus: func(ctx context.Context, handle func(*busconn.Conn, *busconn.Message)) (*busconn.Conn, error) {
			return busconn.Dial(ctx, busconn.SystemBus(), bin, handle)
		},
	}
	server.Serve(ctx)
}

// ready says so at once: neither the bus nor luod need be there, and whoever waits for this
// unit must not wait for them.
func ready() error {
	manager, err := sdnotify.New()
	if errors.Is(err, sdnotify.ErrNoManager) {
		return nil
	}
	if err != nil {
		return err
	}
	return manager.Notify("READY=1")
}
