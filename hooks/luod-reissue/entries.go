package main

import (
	"fmt"
	"io"
	"os"

	"github.com/liveupdate/luod/hooks/internal/recreation"
	"github.com/liveupdate/luod/hooks/internal/treearchive"
	"github.com/liveupdate/luod/luod/description"
	"github.com/liveupdate/luod/luod/wire"
)

// pusher is the unit's store; *fdstore.Manager is one.
type pusher interface {
	Push(name string, files ...*os.File) error
}

// maker makes things anew; recreation.Host does.
type maker interface {
	Make(d description.Description) (*os.File, error)
}

// entry is what goes into the store under its name.
type entry struct {
	name string
	f    *os.File
}

// putBack gives the unit what luod holds for it, in order: directories first are
// unpacked where they come, and the entries of its store are pushed when all of them
// are there, so that a failure leaves the store as it was. It borrows files; unit is for errors. present
// is what the store has of an earlier start, or because the unit was only restarted.
//
// Killed meanwhile, or the unit's start fails: luod still holds everything, and the
// next start gets it. What was pushed before may be in the store still: of a memfd
// PID 1 drops the second, and what was made anew is found in present.
func putBack(unit string, store pusher, host maker, names []string, files []*os.File, present func() (*known, error)) error {
	var entries []entry
	var made []*os.File
	defer func() { wire.Close(made) }()
	var there *known
	for i, f := range files {
		if path, is := wire.Directory(names[i]); is {
			if err := unpack(f, path); err != nil {
				return err
			}
			continue
		}
		e := entry{wire.PlainName(names[i]), f}
		if wire.Recreated(names[i]) || wire.Same(names[i]) {
			d, err := description.Read(f)
			if err != nil {
				return fmt.Errorf("put %q back: %w", e.name, err)
			}
			if there == nil {
				if there, err = present(); err != nil {
					return fmt.Errorf("put %q back: look at what is in the fd store already: %w", e.name, err)
				}
			}
			if there.has(names[i], d, names, files) {
				continue
			}
			if e.f, err = makeAnew(host, names[i], d, names, files); err != nil {
				return fmt.Errorf("put %q back: %w; luod keeps everything, and the next start tries again ('luoctl discard %s %s' gives it up)", e.name, err, unit, e.name)
			}
			made = append(made, e.f)
		}
		entries = append(entries, e)
	}
	for _, e := range entries {
		if err := store.Push(e.name, e.f); err != nil {
			return err
		}
	}
	return nil
}

// makeAnew makes what d describes. A description of one kind under a name of the
// other is nobody's doing.
func makeAnew(host maker, name string, d description.Description, names []string, files []*os.File) (*os.File, error) {
	if wire.Same(name) != (d.Same != nil) {
		return nil, fmt.Errorf("the entry %s is described as %s", name, d)
	}
	if d.Same == nil {
		return host.Make(d)
	}
	for i, other := range names {
		if other == d.Same.Of {
			return recreation.Reopen(files[i], d.Same)
		}
	}
	return nil, fmt.Errorf("its memfd, %s, did not come with it", d.Same.Of)
}

// unpack puts a directory back as it was.
func unpack(f *os.File, path string) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("put the directory %s back: %w", path, err)
	}
	return treearchive.Unpack(io.NewSectionReader(f, 0, info.Size()), path)
}
