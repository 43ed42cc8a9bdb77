package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/liveupdate/luod/internal/hooksdir"
	"github.com/liveupdate/luod/internal/sdnotify"
)

const prepare = "prepare"

var phases = []string{prepare, "commit", "cancel", "restore"}

const usage = `Usage: luod-hooks [OPTION...] PHASE GENERATION
       luod-hooks --wall=TEXT
       luod-hooks --list

Run the hooks of a live update. PHASE is prepare, commit, cancel or restore.

  --timeout=DURATION  what one hook may take (90s)
  --wall=TEXT         show TEXT to everybody who is logged in first
  --list              print what would be run, in order, and run nothing
`

// options are the command line.
type options struct {
	phase, generation string
	timeout           time.Duration
	wall              string
	list              bool
	directories       []string
	// wallProgram is wall(1); tests put another in its place.
	wallProgram string
}

func main() {
	// The kernel sends Pdeathsig when the thread ends that started the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		fmt.Print(usage)
		return
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "luod-hooks: %v\n%s", err, usage)
		os.Exit(2)
	}
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	o := options{wallProgram: "/usr/bin/wall"}
	var dirs string
	flags := flag.NewFlagSet("luod-hooks", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.DurationVar(&o.timeout, "timeout", 90*time.Second, "")
	flags.StringVar(&o.wall, "wall", "", "")
	flags.BoolVar(&o.list, "list", false, "")
	flags.StringVar(&dirs, "directories", strings.Join(hooksdir.Directories, ":"), "")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	o.directories = filepath.SplitList(dirs)
	if o.timeout <= 0 {
		return o, fmt.Errorf("--timeout=%s: it must be more than nothing", o.timeout)
	}
	rest := flags.Args()
	if (o.list || o.wall != "") && len(rest) == 0 {
		return o, nil
	}
	if len(rest) != 2 {
		return o, fmt.Errorf("a phase and a generation are needed, and there are %d arguments", len(rest))
	}
	o.phase, o.generation = rest[0], rest[1]
	if !slices.Contains(phases, o.phase) {
		return o, fmt.Errorf("there is no phase %q: it is one of %s", o.phase, strings.Join(phases, ", "))
	}
	if _, err := strconv.ParseUint(o.generation, 10, 64); err != nil {
		return o, fmt.Errorf("the generation %q is no number", o.generation)
	}
	return o, nil
}

// run reports what went wrong to everybody who asked, and returns it.
func run(ctx context.Context, o options, stdout, stderr io.Writer) error {
	hooks, err := hooksdir.Find(o.directories)
	if o.list {
		hooksdir.Print(stdout, hooks)
		if err != nil {
			fmt.Fprintln(stderr, "luod-hooks:", err)
		}
		return err
	}
	if o.wall != "" {
		if err := wall(ctx, o.wallProgram, o.wall); err != nil {
			fmt.Fprintln(stderr, "luod-hooks:", err)
		}
		if o.phase == "" {
			return nil
		}
	}
	var failures []error
	if err != nil {
		failures = append(failures, err)
	}
	// Who can't be read may have had a veto.
	if err == nil || o.phase != prepare {
		r := runner{phase: o.phase, generation: o.generation, timeout: o.timeout, killDelay: killDelay, stdout: stdout, stderr: stderr}
		failures = append(failures, r.all(ctx, hooks)...)
	}
	if len(failures) == 0 {
		return nil
	}
	failed := errors.Join(failures...)
	text := strings.ReplaceAll(failed.Error(), "\n", "; ")
	fmt.Fprintln(stderr, "luod-hooks:", text)
	if err := say(text); err != nil {
		fmt.Fprintln(stderr, "luod-hooks: tell PID 1:", err)
	}
	return failed
}

// say tells PID 1 what went wrong, where luod reads it.
func say(text string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return sdnotify.Say(ctx, text)
}
