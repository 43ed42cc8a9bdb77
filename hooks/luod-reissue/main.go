package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/recreation"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/sdnotify"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "luod-reissue:", err)
		os.Exit(1)
	}
}

// memfds is the value of --memfd, which may be given several times.
type memfds []memfd

type memfd struct {
	name string
	size int64
}

func (m *memfds) String() string { return "" }

func (m *memfds) Set(text string) error {
	parsed, err := parseMemfd(text)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(*m, func(o memfd) bool { return o.name == parsed.name }) {
		return fmt.Errorf("the name %q is given twice", parsed.name)
	}
	*m = append(*m, parsed)
	return nil
}

func run(args []string) error {
	var create memfds
	flags := flag.NewFlagSet("luod-reissue", flag.ContinueOnError)
	flags.Var(&create, "memfd", "make a memfd `NAME:SIZE` unless it came through an update (SIZE in bytes or with K, M, G)")
	optional := flags.Bool("optional", false, "exit with 0 if luod can't be reached, can't tell which unit this is, or could not restore what came through an update; the unit then starts without what may be waiting for it")
	timeout := flags.Duration("timeout", 30*time.Second, "give up after this long")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage: luod-reissue [OPTION...]\n\nGive a unit its file descriptors back: ExecStartPre=+/usr/lib/luod/luod-reissue, with NotifyAccess=exec and\nFileDescriptorStoreMax=.")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	ctx, cancel := context.WithTimeout(context.Background(), *timeout)
	defer cancel()
	store, err := sdnotify.New()
	if errors.Is(err, sdnotify.ErrNoManager) {
		return fmt.Errorf("%w: this runs as ExecStartPre= of a unit with NotifyAccess=exec (or all) and FileDescriptorStoreMax=", err)
	}
	if err != nil {
		return err
	}
	luod := caller{dial: func(ctx context.Context) (*helperprotocol.Conversation, error) { return dial(ctx, *optional) }}
	defer luod.close()
	unit, names, files, err := luod.retrieve(ctx)
	defer helperprotocol.Close(files)
	if *optional && (mayBeWaiting(err) || stranger(err)) {
		return without(store, create, err)
	}
	if mayBeWaiting(err) {
		return fmt.Errorf("%w; the unit is not started, because its memory may be waiting in luod (see --optional)", err)
	}
	if err != nil {
		return fmt.Errorf("fetch the unit's file descriptors from luod: %w", err)
	}
	host := recreation.Host{Init: "/proc/1"}
	d := delivery{
		unit: unit, store: store, host: host, names: names, files: files,
		needed: func(name string) bool {
			return slices.ContainsFunc(create, func(m memfd) bool { return m.name == name })
		},
		present: func() (*known, error) { return look(ctx, unit, host) },
		look:    func() (contents, error) { return lookInto(ctx, unit) },
	}
	if err := d.putBack(ctx); err != nil {
		return err
	}
	for chunk := range slices.Chunk(names, helperprotocol.MaxFiles) {
		if err := luod.ask(ctx, func(luod *helperprotocol.Conversation) error { return luod.Fetched(chunk) }); err != nil {
			return err
		}
	}
	missing := slices.DeleteFunc(slices.Clone(create), func(m memfd) bool { return slices.Contains(names, m.name) })
	return makeAll(ctx, store, &luod, missing, d.look)
}

// storeTimeout is what PID 1 may take for the memfds of a unit that does without luod,
// for which the time may be over.
const storeTimeout = 10 * time.Second

// without makes the memfds of a unit that does without luod, for the reason why.
func without(store *sdnotify.Manager, create memfds, why error) error {
	fmt.Fprintln(os.Stderr, "luod-reissue: going on without luod:", why)
	ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
	defer cancel()
	// Whose unit it is, luod would have said; a store that is too small shows at the next
	// start.
	return makeAll(ctx, store, nil, create, nil)
}

// makeAll makes the missing memfds, hands them to luod if there is one, and
// stores them; look tells whether PID 1 has them then, unless it is nil. A host without
// LUO is no reason not to start the unit.
func makeAll(ctx context.Context, store *sdnotify.Manager, luod *caller, create memfds, look func() (contents, error)) error {
	if len(create) == 0 {
		return nil
	}
	if len(create) > helperprotocol.MaxFiles {
		return fmt.Errorf("make %d memfds: at most %d are made; a service that needs more hands them over itself", len(create), helperprotocol.MaxFiles)
	}
	var names []string
	var files []*os.File
	defer func() { helperprotocol.Close(files) }()
	for _, m := range create {
		fd, err := unix.MemfdCreate(m.name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
		if err != nil {
			return fmt.Errorf("make the memfd %q: %w", m.name, err)
		}
		f := os.NewFile(uintptr(fd), m.name)
		names, files = append(names, m.name), append(files, f)
		if err := f.Truncate(m.size); err != nil {
			return fmt.Errorf("give the memfd %q %d bytes: %w", m.name, m.size, err)
		}
	}
	if luod != nil {
		var refused *helperprotocol.Refused
		if err := luod.ask(ctx, func(luod *helperprotocol.Conversation) error { return luod.Preserve(names, files) }); errors.As(err, &refused) && refused.Reason == "NotSupported" {
			fmt.Fprintln(os.Stderr, "luod-reissue: the unit's memory will not live through a reboot:", err)
		} else if err != nil {
			return fmt.Errorf("hand %s to luod: %w", strings.Join(names, ", "), err)
		}
	}
	entries := make([]entry, len(files))
	for i, f := range files {
		entries[i] = entry{names[i], f}
	}
	return pushAll(ctx, store, "the unit", entries, look)
}
