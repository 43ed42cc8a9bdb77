package vault

import (
	"cmp"
	"context"
	"os"
	"slices"

	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/luod/internal/bundle"
)

// Store is luod's own fd store; *sdnotify.Manager is one.
type Store interface {
	Push(name string, files ...*os.File) error
	Remove(name string) error
	Barrier(ctx context.Context) error
}

// Vault is changed by one goroutine at a time. While that waits in the store, others may
// look and refresh, one at a time too: they see what was before.
type Vault struct {
	store  Store
	limits Limits
	units  map[string]holding
	names  map[key]*File
	inodes map[fileid.ID]*File
	serial uint64
	// bundle numbers the next entry in the store.
	bundle uint64
	// stale are the names of entries that nobody has anything in, and that PID 1
	// could not be told to remove.
	stale []string
}

type key struct{ unit, name string }

// holding is what the vault has of one unit.
type holding struct {
	files []*File
	// bytes is the size of all of them, each as it was last looked at.
	bytes int64
	// entries hold the files in the fd store, and writer is of the bundle that
	// still takes more: the one of the last entry, if we made it.
	entries []*entry
	writer  *bundle.Bundle
}

// New makes an empty vault over store.
func New(store Store, limits Limits) *Vault {
	return &Vault{store: store, limits: limits, units: map[string]holding{}, names: map[key]*File{}, inodes: map[fileid.ID]*File{}, bundle: 1}
}

// Holder returns the file that is held, for whatever unit, or nil.
func (v *Vault) Holder(id fileid.ID) *File { return v.inodes[id] }

func (v *Vault) put(f *File) {
	h := v.units[f.Unit]
	h.files = append(h.files, f)
	h.bytes += f.size
	v.units[f.Unit] = h
	v.names[key{f.Unit, f.Name}] = f
	v.inodes[f.inode] = f
	v.serial = max(v.serial, f.Serial)
}

func (v *Vault) find(unit, name string) *File { return v.names[key{unit, name}] }

// Files returns what the vault holds for unit, in the order of handing over.
// The slice is the caller's, the files stay the vault's.
func (v *Vault) Files(unit string) []*File {
	files := slices.Clone(v.units[unit].files)
	slices.SortFunc(files, func(a, b *File) int { return cmp.Compare(a.Serial, b.Serial) })
	return files
}

// Select returns the unit's files of these names in that order, or all of them
// if there are none; a *Refusal names the first that is missing.
func (v *Vault) Select(unit string, names []string) ([]*File, error) {
	if len(names) == 0 {
		return v.Files(unit), nil
	}
	files := make([]*File, 0, len(names))
	for _, name := range names {
		f := v.find(unit, name)
		if f == nil {
			return nil, refuse(NoSuchName, "%s has no file descriptor %q preserved", unit, name)
		}
		files = append(files, f)
	}
	return files, nil
}

// Totals counts the units, their files and these files' bytes, as they were when
// each was last looked at: see Refresh.
func (v *Vault) Totals() (units, files int, bytes int64) {
	for _, h := range v.units {
		if len(h.files) > 0 {
			units++
		}
		files += len(h.files)
		bytes += h.bytes
	}
	return units, files, bytes
}

// Refresh looks at every file again: units may have made theirs larger.
func (v *Vault) Refresh() {
	for unit := range v.units {
		v.refresh(unit)
	}
}

func (v *Vault) refresh(unit string) {
	h, is := v.units[unit]
	if !is {
		return
	}
	h.bytes = 0
	for _, f := range h.files {
		if facts, err := Look(f.F); err == nil {
			f.size = facts.Size
		}
		h.bytes += f.size
	}
	v.units[unit] = h
}

// Units returns the names of the units that have something here, sorted.
func (v *Vault) Units() []string {
	names := make([]string, 0, len(v.units))
	for name, h := range v.units {
		if len(h.files) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Close closes this process's descriptors; what is in the fd store stays.
func (v *Vault) Close() {
	for _, h := range v.units {
		if h.writer != nil {
			h.writer.Close()
		}
		for _, f := range h.files {
			f.F.Close()
		}
	}
	clear(v.units)
	clear(v.names)
	clear(v.inodes)
}
