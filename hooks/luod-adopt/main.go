package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/fdstore"
	"github.com/liveupdate/luod/luod/wire"
)

// attempts is how often a store that changes is copied anew.
const attempts = 5

func main() {
	if len(os.Args) < 2 || os.Args[1] == "--help" {
		fmt.Fprintln(os.Stderr, "Usage: luod-adopt UNIT...\n       luod-adopt --directories UNIT=PATH...\n\nCopies what PID 1 keeps for units, or packs directories of theirs; luod starts it, see luod(8).")
		os.Exit(2)
	}
	do := run
	args := os.Args[1:]
	if args[0] == "--directories" {
		do, args = runDirectories, args[1:]
	}
	if err := do(args); err != nil {
		fmt.Fprintln(os.Stderr, "luod-adopt:", err)
		say(err)
		os.Exit(1)
	}
}

func say(err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = fdstore.Say(ctx, err.Error())
}

func run(units []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pidfd, err := unix.PidfdOpen(1, 0)
	if err != nil {
		return fmt.Errorf("open PID 1: %w", err)
	}
	defer unix.Close(pidfd)
	luod, err := wire.Dial(ctx)
	if err != nil {
		return err
	}
	defer luod.Close()
	for _, unit := range units {
		names, files, err := adopt(ctx, pidfd, unit)
		if err == nil {
			err = handOver(luod, unit, names, files)
		}
		wire.Close(files)
		if err != nil {
			return fmt.Errorf("take over the fd store of %s: %w", unit, err)
		}
	}
	return nil
}

// adopt copies a unit's store as it is at one moment.
func adopt(ctx context.Context, pidfd int, unit string) (names []string, files []*os.File, err error) {
	for range attempts {
		before, err := fdstore.Dump(ctx, unit)
		if err != nil {
			return nil, nil, err
		}
		open, err := descriptors(1)
		if err != nil {
			return nil, nil, err
		}
		names, files, err := copyStore(pidfd, open, before[unit])
		if err != nil && !errors.Is(err, errMoved) {
			return nil, nil, err
		}
		if err == nil {
			after, err := fdstore.Dump(ctx, unit)
			if err == nil && reflect.DeepEqual(before, after) {
				return names, files, nil
			}
			wire.Close(files)
			if err != nil {
				return nil, nil, err
			}
		}
	}
	return nil, nil, fmt.Errorf("%w, %d times in a row", errMoved, attempts)
}

func handOver(luod *wire.Conversation, unit string, names []string, files []*os.File) error {
	for len(names) > 0 {
		n := min(len(names), wire.MaxFiles)
		if err := luod.Tell(wire.Message{Request: wire.Adopt, Unit: unit, Names: names[:n]}, files[:n]); err != nil {
			return err
		}
		names, files = names[n:], files[n:]
	}
	return nil
}
