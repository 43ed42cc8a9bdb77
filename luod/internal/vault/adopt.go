package vault

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/luod/internal/bundle"
)

// Adopt takes over entries that came back from the fd store, as left by an
// earlier process of this boot. Bad entries stay in the store untouched and are
// reported together in the error; the others are taken all the same.
func (v *Vault) Adopt(entries []sdnotify.Entry) error {
	var failed []error
	known := map[string]*entry{}
	slices.SortFunc(entries, func(a, b sdnotify.Entry) int { return cmp.Compare(number(a.Name), number(b.Name)) })
	for _, back := range entries {
		v.bundle = max(v.bundle, number(back.Name)+1)
		e := known[back.Name]
		if e == nil {
			e = &entry{name: back.Name}
			known[back.Name] = e
		}
		items, err := bundle.Read(back.File)
		back.File.Close()
		if err != nil {
			e.users++ // whoever can read it; so the name is never removed
			failed = append(failed, fmt.Errorf("read %s of the fd store: %w", back.Name, err))
			continue
		}
		for _, it := range items {
			h := v.units[it.Owner]
			if !slices.Contains(h.entries, e) {
				e.users++
				h.entries = append(h.entries, e)
				v.units[it.Owner] = h
			}
			// A kill between writing a unit's new bundle and removing
			// the old leaves an item in both.
			if v.find(it.Owner, it.Name) != nil {
				it.File.Close()
				continue
			}
			facts, err := Look(it.File)
			if err != nil {
				it.File.Close()
				failed = append(failed, fmt.Errorf("take %q of %s over: %w", it.Name, it.Owner, err))
				continue
			}
			v.put(&File{Unit: it.Owner, Name: it.Name, Serial: it.Serial, F: it.File, inode: facts.inode, size: facts.Size})
		}
	}
	for _, e := range known {
		if e.users == 0 { // emptied, and PID 1 did not hear of it
			v.stale = append(v.stale, e.name)
		}
	}
	return errors.Join(failed...)
}
