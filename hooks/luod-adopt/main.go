package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/hooks/internal/recreation"
	"github.com/liveupdate/luod/hooks/internal/storecopy"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/sdnotify"
)

func main() {
	if len(os.Args) < 2 || os.Args[1] == "--help" {
		fmt.Fprintln(os.Stderr, "Usage: luod-adopt UNIT[=KIND,...]...\n       luod-adopt --directories UNIT=PATH...\n       luod-adopt --check-directories UNIT=PATH...\n       luod-adopt --vouch BUS PID\n\nCopies what PID 1 keeps for units, packs directories of theirs, or makes sure that it is the process PID of today that has connected to the bus, which is the process BUS; luod starts it, see luod(8).")
		os.Exit(2)
	}
	do := run
	args := os.Args[1:]
	switch args[0] {
	case "--directories":
		do, args = runDirectories, args[1:]
	case "--check-directories":
		do, args = checkDirectories, args[1:]
	case "--vouch":
		do, args = vouch, args[1:]
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
	_ = sdnotify.Say(ctx, err.Error())
}

// dialer begins a conversation with luod.
type dialer func(context.Context) (*helperprotocol.Conversation, error)

// converseTimeout bounds a conversation, from dialing on: luod answers each request
// within a minute, and may be busy with something else.
const converseTimeout = 2 * time.Minute

// converse has a conversation with luod for what.
func (dial dialer) converse(what func(*helperprotocol.Conversation) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), converseTimeout)
	defer cancel()
	luod, err := dial(ctx)
	if err != nil {
		return err
	}
	defer luod.Close()
	return what(luod)
}

// copyTimeout bounds the copying of one store. PID 1 bounds all of it.
const copyTimeout = time.Minute

func run(args []string) error {
	for _, arg := range args {
		t, err := parseTaking(arg)
		if err != nil {
			return fmt.Errorf("read the argument %q: %w", arg, err)
		}
		if err := takeOver(t); err != nil {
			return fmt.Errorf("take over the fd store of %s: %w", t.unit, err)
		}
	}
	return nil
}

// takeOver copies a store before it begins the conversation about it.
func takeOver(t taking) error {
	ctx, cancel := context.WithTimeout(context.Background(), copyTimeout)
	defer cancel()
	list, err := storecopy.Of(ctx, t.unit, t.wants)
	if err != nil {
		return err
	}
	defer storecopy.Close(list)
	return dialer(helperprotocol.Dial).converse(func(luod *helperprotocol.Conversation) error { return handOver(luod, t.unit, list) })
}

// handOver gives luod the memfds, and descriptions of what is made anew. What can't
// be is said first: luod then refuses, or lets it be.
func handOver(luod *helperprotocol.Conversation, unit string, list []storecopy.Copy) error {
	var names, without, reasons, silent []string
	var files, made []*os.File
	defer func() { helperprotocol.Close(made) }()
	for i, c := range list {
		if c.Memfd {
			names, files = append(names, c.Name), append(files, c.F)
			continue
		}
		f, err := describe(c)
		if errors.Is(err, patience.ErrSilent) {
			list[i].F = nil // closing it would wait, too
			silent = append(silent, fmt.Sprintf("%q (%s)", c.Name, c.Path))
		}
		if err != nil {
			without = append(without, c.Name)
			reasons = append(reasons, fmt.Sprintf("%s: %v", c.Path, err))
			continue
		}
		made = append(made, f)
		names, files = append(names, entryname.RecreateName(i, c.Name)), append(files, f)
	}
	for len(without) > 0 {
		n := min(len(without), maxReasons)
		if err := luod.Tell(helperprotocol.Message{Request: helperprotocol.Forgo, Unit: unit, Names: without[:n], Reasons: reasons[:n]}, nil); err != nil {
			return err
		}
		without, reasons = without[n:], reasons[n:]
	}
	for len(names) > 0 {
		n := min(len(names), helperprotocol.MaxFiles)
		if err := luod.Tell(helperprotocol.Message{Request: helperprotocol.Adopt, Unit: unit, Names: names[:n]}, files[:n]); err != nil {
			return err
		}
		names, files = names[n:], files[n:]
	}
	// Nor can this program end before they answer, which PID 1 takes for a failure: luod
	// is to know of what.
	if len(silent) > 0 {
		return fmt.Errorf("copy %s: %w", strings.Join(silent, ", "), patience.ErrSilent)
	}
	return nil
}

// maxReasons is how many fit into a message, with paths of 4 KiB in them.
const maxReasons = 10

// describe returns the description of an entry in a memfd, which the caller owns.
func describe(c storecopy.Copy) (*os.File, error) {
	if c.F == nil {
		return nil, patience.ErrSilent
	}
	if c.Type == unix.S_IFSOCK && c.Others > 0 {
		return nil, errors.New("PID 1 has this socket for something else as well, such as a .socket unit, which makes it anew itself")
	}
	d, err := recreation.Host{Init: "/proc/1"}.Describe(c.F)
	if err != nil {
		return nil, err
	}
	return d.Memfd()
}
