package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/liveupdate/luod/hooks/internal/recreation"
	"github.com/liveupdate/luod/hooks/internal/treearchive"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/recipe"
)

// pusher is the unit's store; *sdnotify.Manager is one.
type pusher interface {
	Push(name string, files ...*os.File) error
	Barrier(ctx context.Context) error
}

// maker makes things anew; recreation.Host does.
type maker interface {
	Make(d recipe.Recipe) (*os.File, error)
}

// entry is what goes into the store under its name.
type entry struct {
	name string
	f    *os.File
}

// delivery is what luod holds for a unit, and how it gets there.
type delivery struct {
	unit  string
	store pusher
	host  maker
	names []string
	files []*os.File
	// needed says which of the names that the unit gave itself have to be in its store
	// too; the others are put there as far as there is room.
	needed func(name string) bool
	// present is what the store has of an earlier start, or because the unit was only
	// restarted.
	present func() (*known, error)
	// look tells what PID 1 has in the store.
	look func() (contents, error)
}

// putBack gives the unit what luod holds for it, in order: directories first are
// unpacked where they come, and the entries of its store are pushed when all of them
// are there, so that a failure leaves the store as it was. PID 1 closes without a word
// what the store has no room for; therefore it is looked at afterwards. It borrows the
// files.
//
// Killed meanwhile, or the unit's start fails: luod still holds everything, and the
// next start gets it. What was pushed before may be in the store still: of a memfd
// PID 1 drops the second, and what was made anew is found in present.
func (d delivery) putBack(ctx context.Context) error {
	entries, others, made, err := d.entries()
	defer helperprotocol.Close(made)
	if err != nil {
		return err
	}
	if len(entries)+len(others) == 0 {
		return nil
	}
	if err := pushAll(ctx, d.store, d.unit, entries, d.look); err != nil || len(others) == 0 {
		return err
	}
	has, err := d.look()
	if err != nil {
		return err
	}
	for _, e := range others {
		if has.entries[e.id()] > 0 {
			continue
		}
		if has.count >= has.max {
			fmt.Fprintf(os.Stderr, "luod-reissue: %q is not put into the fd store, which is full; the unit gets it from luod over D-Bus\n", e.name)
			continue
		}
		if err := d.store.Push(e.name, e.f); err != nil {
			return err
		}
		has.count++
	}
	return d.store.Barrier(ctx)
}

// pushAll puts entries into the store of unit, and looks whether PID 1 has them, unless
// look is nil.
func pushAll(ctx context.Context, store pusher, unit string, entries []entry, look func() (contents, error)) error {
	if len(entries) == 0 {
		return nil
	}
	for _, e := range entries {
		if err := store.Push(e.name, e.f); err != nil {
			return err
		}
	}
	if err := store.Barrier(ctx); err != nil || look == nil {
		return err
	}
	has, err := look()
	if err != nil {
		return err
	}
	return has.missing(unit, entries)
}

// entries returns what has to get into the store, what may, and what of it was made
// here, which the caller owns even with an error.
func (d delivery) entries() (needed, others []entry, made []*os.File, err error) {
	var there *known
	for i, f := range d.files {
		name := d.names[i]
		if path, is := entryname.Directory(name); is {
			if err := unpack(f, path); err != nil {
				return nil, nil, made, err
			}
			continue
		}
		e := entry{entryname.PlainName(name), f}
		if !entryname.Adopted(name) && !d.needed(name) {
			others = append(others, e)
			continue
		}
		if entryname.Recreated(name) || entryname.Same(name) {
			what, err := recipe.Read(f)
			if err != nil {
				return nil, nil, made, fmt.Errorf("put %q back: %w", e.name, err)
			}
			if there == nil {
				if there, err = d.present(); err != nil {
					return nil, nil, made, fmt.Errorf("put %q back: look at what is in the fd store already: %w", e.name, err)
				}
			}
			if there.has(name, what, d.names, d.files) {
				continue
			}
			if e.f, err = makeAnew(d.host, name, what, d.names, d.files); err != nil {
				return nil, nil, made, fmt.Errorf("put %q back: %w; luod keeps everything, and the next start tries again ('luoctl discard %s %s' gives it up)", e.name, err, d.unit, e.name)
			}
			made = append(made, e.f)
		}
		needed = append(needed, e)
	}
	return needed, others, made, nil
}

// makeAnew makes what d describes. A description of one kind under a name of the
// other is nobody's doing.
func makeAnew(host maker, name string, d recipe.Recipe, names []string, files []*os.File) (*os.File, error) {
	if entryname.Same(name) != (d.Same != nil) {
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
	left, err := treearchive.Unpack(io.NewSectionReader(f, 0, info.Size()), path)
	for _, l := range left {
		fmt.Fprintf(os.Stderr, "luod-reissue: %q in the directory %s %s\n", l.Name, path, l.Why)
	}
	return err
}
