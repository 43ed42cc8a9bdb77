package vault

import (
	"context"
	"slices"
)

// Remove gives up the unit's files of these names, or all of them if there are
// none, and closes them. What is kept is safe in a new bundle before the old ones
// are dropped, and from then on it is done, whatever becomes of the old: on an error
// nothing has changed.
//
// Killed in between, or before PID 1 could be told to remove the old ones: the next
// start finds too much rather than too little.
func (v *Vault) Remove(ctx context.Context, unit string, names []string) error {
	_ = v.sweep()
	h := v.units[unit]
	for _, name := range names {
		if v.find(unit, name) == nil {
			return refuse(NoSuchName, "%s has no file descriptor %q preserved", unit, name)
		}
	}
	gone := func(f *File) bool { return len(names) == 0 || slices.Contains(names, f.Name) }
	keep := slices.DeleteFunc(slices.Clone(h.files), gone)
	var s staged
	if len(keep) > 0 {
		var err error
		if s, err = v.save(ctx, unit, keep, nil); err != nil {
			return err
		}
	}
	if h.writer != nil {
		h.writer.Close()
	}
	_ = v.drop(h.entries...) // told again at the next occasion
	delete(v.units, unit)
	for _, f := range h.files {
		if gone(f) {
			delete(v.names, key{unit, f.Name})
			delete(v.inodes, f.inode)
			f.F.Close()
		}
	}
	if len(keep) > 0 {
		rest := holding{files: keep}
		for _, f := range keep {
			rest.bytes += f.size // perhaps looked at again during the wait
		}
		v.units[unit] = rest
		v.settle(s)
	}
	return nil
}

// Move gives all files of one unit to another that has none of their names. They are
// safe in the other's bundle before they are dropped from the one's, and from then on
// it is done: an error says that nothing has changed, or, if the one has none any more,
// that PID 1 could not be told to remove its bundles yet.
//
// Killed in between, or before PID 1 is told: they are in both, and the next start's
// Move finds those that the other has already, and drops them.
func (v *Vault) Move(ctx context.Context, from, to string) error {
	_ = v.sweep()
	h := v.units[from]
	var moved []*File
	for _, f := range h.files {
		if v.find(to, f.Name) == nil {
			copied := *f
			copied.Unit = to
			moved = append(moved, &copied)
		}
	}
	if len(moved) > 0 {
		s, err := v.save(ctx, to, moved, v.units[to].writer)
		if err != nil {
			return err
		}
		v.settle(s)
	}
	if h.writer != nil {
		h.writer.Close()
	}
	err := v.drop(h.entries...)
	delete(v.units, from)
	for _, f := range h.files {
		delete(v.names, key{from, f.Name})
		if has := v.find(to, f.Name); has != nil {
			v.inodes[has.inode] = has
			f.F.Close()
		}
	}
	for _, f := range moved {
		v.put(f)
	}
	return err
}
