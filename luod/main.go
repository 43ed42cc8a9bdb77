package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/hooksdir"
	"github.com/liveupdate/luod/internal/journallog"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luod/internal/busbackend"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/clock"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/logind"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/settings"
	"github.com/liveupdate/luod/luod/internal/socket"
)

// version is set by the linker.
var version = "dev"

func main() {
	showVersion := flag.Bool("version", false, "print the version and exit")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: luod [--version]\n\nThe live update daemon. luod.service starts it; use luoctl(1) to talk to it.")
	}
	flag.Parse()
	if *showVersion {
		fmt.Println("luod", version)
		return
	}
	// The journal goes away long before luod does, and a write to its dead
	// socket would kill this process with all that it holds.
	signal.Ignore(syscall.SIGPIPE)
	log := slog.New(journallog.New(os.Stderr))
	if flag.NArg() > 0 {
		log.Error("luod takes no arguments", "arguments", flag.Args())
		os.Exit(2)
	}
	if err := run(log); err != nil {
		log.Error("luod can't go on", "error", err)
		os.Exit(1)
	}
}

func run(log *slog.Logger) error {
	// First of all, before anything can fail: what PID 1 kept for us.
	entries, err := sdnotify.Listen()
	if err != nil {
		return err
	}
	store, err := sdnotify.New()
	if errors.Is(err, sdnotify.ErrNoManager) {
		return fmt.Errorf("%w: luod keeps everything in systemd's fd store and runs only as luod.service; start it with 'systemctl start luod.service'", err)
	}
	if err != nil {
		return err
	}
	machine, err := readMachine()
	if err != nil {
		return err
	}
	values, problems := settings.Load("/")
	for _, problem := range problems {
		log.Error("a setting is wrong", "reason", problem)
	}
	bin := &foreign.Bin{Log: log}
	backend := &busbackend.Server{
		Bin:   bin,
		Meter: quota.Meter{Rate: values.CallsPerSecond, Burst: values.CallsBurst},
		Log:   log, Unit: callers.Unit, Peer: mayBeBus, Vouch: vouch, Logind: logind.Logind{}.Inhibitors,
	}
	dir := filepath.Dir(helperprotocol.Path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make the runtime directory: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	locks, err := inhibitors.Open(filepath.Join(dir, "inhibit"), nil)
	if err != nil {
		return err
	}
	defer locks.Close()
	backend.Locks = locks
	status := &teller{notify: store.Notify}
	login := &banner{run: "/run", enabled: values.LoginBanner, log: log}
	c, err := coordinator.Start(ctx, coordinator.Config{
		Kernel: kernel(), Store: store, Loader: nextKernel(), Jumper: pid1.Jumper{},
		Units: pid1.Units{}, Hooks: hooksdir.Any, Wall: wall(log), Clock: clock.System{}, Announce: backend.Announce, Inhibitors: backend.Inhibitors, Machine: machine, Settings: values,
		Record: filepath.Join(dir, "record.json"), History: "/var/lib/luod/history", Log: log,
		Changed: func(s coordinator.Status) {
			backend.Changed(s)
			status.Set(oneLine(s))
			login.show(s)
		},
	}, entries)
	if err != nil {
		return err
	}
	defer c.Close()
	server, err := socket.Listen(helperprotocol.Path, c, bin, log)
	if err != nil {
		return err
	}
	go server.Serve()
	backend.Registry = c
	forBus, err := busbackend.Listen(buslink.Path)
	if err != nil {
		return err
	}
	go backend.Serve(ctx, forBus)
	go openToBus(ctx, log)
	if err := status.Ready(); err != nil {
		return err
	}
	return wait(ctx, c, log)
}

// wait returns on a request to stop. After the commit there is none: what PID 1 sends then
// is part of the shutdown that luod has to outlive.
func wait(ctx context.Context, c *coordinator.Coordinator, log *slog.Logger) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	for {
		reason := "stopping on " + (<-signals).String()
		status, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if status.Phase == phase.Packing || status.Phase == phase.Committed {
			log.Warn("not now: a live update needs luod to the end", "phase", status.Phase, "reason", reason)
			continue
		}
		log.Info("everything that was handed over stays in the fd store", "reason", reason)
		return nil
	}
}

// oneLine is what systemctl status shows.
func oneLine(s coordinator.Status) string {
	switch {
	case s.Degraded != "":
		return "Degraded: " + s.Degraded
	case s.Unsupported != "":
		return "No live update possible: " + s.Unsupported
	}
	text := fmt.Sprintf("%s; generation %d; %d file descriptors of %d units", s.Phase, s.Generation, s.FileDescriptors, s.Units)
	if n := len(s.Waiting); n > 0 {
		text += fmt.Sprintf("; %d units have not fetched theirs yet", n)
	}
	if n := len(s.Lost); n > 0 {
		text += fmt.Sprintf("; %d file descriptors LOST", n)
	}
	return text
}
