package main

import (
	"context"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/hooks/internal/recreation"
	"github.com/liveupdate/luod/hooks/internal/storecopy"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/internal/storeview"
)

// known is what the unit's store has already.
type known struct {
	// made are the entries that can be described, by their names.
	made []named
	// memfds counts the entries of each memfd under each name.
	memfds map[memfdName]int
}

type named struct {
	name string
	d    recipe.Recipe
}

type memfdName struct {
	name          string
	device, inode uint64
}

// look finds out what the store of a unit has.
func look(ctx context.Context, unit string, host recreation.Host) (*known, error) {
	k := &known{memfds: map[memfdName]int{}}
	list, err := storecopy.Of(ctx, unit, func(s storeview.Stored) bool {
		_, err := s.Recreatable()
		return s.Memfd || err == nil
	})
	if err != nil {
		return nil, err
	}
	defer storecopy.Close(list)
	for i, c := range list {
		if c.Memfd {
			k.memfds[memfdName{c.Name, c.Device, c.Inode}]++
			continue
		}
		if c.F == nil {
			continue // what doesn't answer was not made by luod-reissue
		}
		d, err := host.Describe(c.F)
		if errors.Is(err, patience.ErrSilent) {
			list[i].F = nil // closing it would wait, too
		}
		if err == nil {
			k.made = append(k.made, named{c.Name, d})
		}
	}
	return k, nil
}

// has says whether the store has what d describes, luod's name for which is name;
// each entry counts once.
func (k *known) has(name string, d recipe.Recipe, names []string, files []*os.File) bool {
	plain := entryname.PlainName(name)
	if d.Same == nil {
		for i, m := range k.made {
			if m.name == plain && m.d.Alike(d) {
				k.made[i].name = "" // no entry has an empty one
				return true
			}
		}
		return false
	}
	for i, other := range names {
		if other != d.Same.Of {
			continue
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(files[i].Fd()), &st); err != nil {
			return false
		}
		n := 1
		if entryname.PlainName(other) == plain {
			n = 2 // one of them is the entry that the memfd itself is pushed as
		}
		return k.take(memfdName{plain, st.Dev, st.Ino}, n)
	}
	return false
}

// take counts one off if there are at least n.
func (k *known) take(key memfdName, n int) bool {
	if k.memfds[key] < n {
		return false
	}
	k.memfds[key]--
	return true
}
