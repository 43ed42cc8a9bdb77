package vault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/luod/fdstore"
)

// Store is luod's own fd store; *fdstore.Manager is one.
type Store interface {
	Push(name string, files ...*os.File) error
	Remove(name string) error
	Barrier(ctx context.Context) error
}

// bundlePrefix begins the name of every entry of ours in the fd store.
const bundlePrefix = "bundle-"

// Vault is used by one goroutine.
type Vault struct {
	store  Store
	limits Limits
	units  map[string]holding
	names  map[key]*File
	inodes map[inode]*File
	serial uint64
	// bundle numbers the next entry in the store.
	bundle uint64
}

type key struct{ unit, name string }

// holding is what the vault has of one unit.
type holding struct {
	files []*File
	// bytes is the size of all of them, each as it was last looked at.
	bytes int64
	// entries are the unit's names in the fd store, and writer the bundle
	// that still takes more: the one of the last entry, if we made it.
	entries []string
	writer  *fdstore.Bundle
}

// Limits are what one unit may have.
type Limits struct {
	Files int
	// Bytes is the size of all its files when they are taken over; what they grow
	// by later is the business of the unit's memory limit.
	Bytes int64
}

// unlimited is what Bytes is without a limit (settings.Default).
const unlimited = 1 << 60

// New makes an empty vault over store.
func New(store Store, limits Limits) *Vault {
	return &Vault{store: store, limits: limits, units: map[string]holding{}, names: map[key]*File{}, inodes: map[inode]*File{}, bundle: 1}
}

// Holder returns the file of that st_dev and st_ino that is held, for whatever unit,
// or nil.
func (v *Vault) Holder(device, number uint64) *File { return v.inodes[inode{device, number}] }

// IsEntry says whether a name in the fd store is of a vault's making.
func IsEntry(name string) bool { return strings.HasPrefix(name, bundlePrefix) }

// Adopt takes over entries that came back from the fd store, as left by an
// earlier process of this boot. Bad entries stay in the store untouched and are
// reported together in the error; the others are taken all the same.
func (v *Vault) Adopt(entries []fdstore.Entry) error {
	var failed []error
	slices.SortFunc(entries, func(a, b fdstore.Entry) int { return cmp.Compare(number(a.Name), number(b.Name)) })
	for _, e := range entries {
		v.bundle = max(v.bundle, number(e.Name)+1)
		items, err := fdstore.ReadBundle(e.File)
		e.File.Close()
		if err != nil {
			failed = append(failed, fmt.Errorf("read %s of the fd store: %w", e.Name, err))
			continue
		}
		for _, it := range items {
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
		for _, owner := range owners(items) {
			h := v.units[owner]
			if !slices.Contains(h.entries, e.Name) {
				h.entries = append(h.entries, e.Name)
			}
			v.units[owner] = h
		}
	}
	return errors.Join(failed...)
}

func number(entry string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(entry, bundlePrefix), 10, 64)
	return n
}

func owners(items []fdstore.Item) []string {
	var names []string
	for _, it := range items {
		if !slices.Contains(names, it.Owner) {
			names = append(names, it.Owner)
		}
	}
	return names
}

// Add takes files over for unit under names, all or none: on success the vault
// owns them and they are safe in the fd store; on an error the caller still
// owns every one and nothing changed. A *Refusal says what was wrong with the
// request.
//
// Killed before the items are in the bundle: nothing was promised and nothing
// is kept. Killed after: the next start finds all of them, and the caller, who
// got no answer, is told NameInUse if it tries again.
func (v *Vault) Add(ctx context.Context, unit string, names []string, files []*os.File) error {
	if len(names) > MaxPerCall {
		return refuse(TooMany, "%d file descriptors in one call are too many: at most %d are taken", len(names), MaxPerCall)
	}
	return v.AddAll(ctx, []Batch{{unit, names, files}})[0]
}

// Batch is what is added for one unit at a time.
type Batch struct {
	Unit  string
	Names []string
	Files []*os.File
}

// AddAll does what Add does with each batch, of any size and each of another unit,
// and waits for PID 1 only once. It returns what became of each, in their order;
// one that is refused doesn't touch the others.
//
// Killed meanwhile: the next start finds what got into the bundles that PID 1 had
// taken, in whole messages, and of the rest nothing.
func (v *Vault) AddAll(ctx context.Context, batches []Batch) []error {
	failed := make([]error, len(batches))
	added := make([][]*File, len(batches))
	stages := make([]staged, len(batches))
	wait := false
	serial := v.serial
	for i, b := range batches {
		facts, err := v.check(b.Unit, b.Names, b.Files)
		if err != nil {
			failed[i] = err
			continue
		}
		added[i] = make([]*File, len(b.Files))
		for j, f := range b.Files {
			serial++
			added[i][j] = &File{Unit: b.Unit, Name: b.Names[j], Serial: serial, F: f, inode: facts[j].inode, size: facts[j].Size}
		}
		stages[i], failed[i] = v.stage(b.Unit, added[i])
		wait = wait || len(stages[i].entries) > 0
	}
	var late error
	if wait {
		late = v.store.Barrier(ctx)
	}
	for i, s := range stages {
		switch {
		case failed[i] != nil:
			continue
		case len(s.entries) > 0 && late != nil:
			v.unstage(s)
			failed[i] = late
			continue
		case len(s.entries) > 0:
			v.settle(s)
		}
		for _, f := range added[i] {
			v.put(f)
		}
	}
	return failed
}

func (v *Vault) put(f *File) {
	h := v.units[f.Unit]
	h.files = append(h.files, f)
	h.bytes += f.size
	v.units[f.Unit] = h
	v.names[key{f.Unit, f.Name}] = f
	v.inodes[f.inode] = f
	v.serial = max(v.serial, f.Serial)
}

// Remove gives up the unit's files of these names, or all of them if there are
// none, and closes them. The rest is written to a new bundle before the old one
// is dropped, so that a kill in between leaves too much rather than too little.
func (v *Vault) Remove(ctx context.Context, unit string, names []string) error {
	h := v.units[unit]
	for _, name := range names {
		if v.find(unit, name) == nil {
			return refuse(NoSuchName, "%s has no file descriptor %q preserved", unit, name)
		}
	}
	gone := func(f *File) bool { return len(names) == 0 || slices.Contains(names, f.Name) }
	keep := slices.DeleteFunc(slices.Clone(h.files), gone)
	old := h.entries
	if h.writer != nil {
		h.writer.Close()
	}
	fresh := holding{files: h.files, bytes: h.bytes}
	v.units[unit] = fresh
	if len(keep) > 0 {
		if err := v.save(ctx, unit, keep); err != nil {
			// The old entries still hold everything.
			fresh = v.units[unit]
			fresh.entries = append(old, fresh.entries...)
			v.units[unit] = fresh
			return err
		}
	}
	for i, name := range old {
		if err := v.store.Remove(name); err != nil {
			fresh = v.units[unit]
			fresh.entries = append(slices.Clone(old[i:]), fresh.entries...)
			v.units[unit] = fresh
			return err
		}
	}
	for _, f := range h.files {
		if gone(f) {
			delete(v.names, key{unit, f.Name})
			delete(v.inodes, f.inode)
			f.F.Close()
			h.bytes -= f.size
		}
	}
	fresh = v.units[unit]
	fresh.bytes = h.bytes
	fresh.files = keep
	v.units[unit] = fresh
	if len(keep) == 0 {
		delete(v.units, unit)
	}
	return nil
}

// Move gives all files of one unit to another that has none of their names. They are
// written to the other's bundle before they are dropped from the one's.
//
// Killed in between: they are in both, and the next start's Move finds those that the
// other has already, and drops them.
func (v *Vault) Move(ctx context.Context, from, to string) error {
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
		if err := v.save(ctx, to, moved); err != nil {
			return err
		}
	}
	if h.writer != nil {
		h.writer.Close()
	}
	var failed []error
	for _, name := range h.entries {
		failed = append(failed, v.store.Remove(name))
	}
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
	return errors.Join(failed...)
}

// save puts files into the unit's bundle, opening new ones as they fill up, and
// returns when PID 1 has taken every new one: a message that PID 1 reads after
// its sender died is dropped, since it can't tell whose it was.
func (v *Vault) save(ctx context.Context, unit string, files []*File) error {
	s, err := v.stage(unit, files)
	if err != nil || len(s.entries) == 0 {
		return err
	}
	if err := v.store.Barrier(ctx); err != nil {
		v.unstage(s)
		return err
	}
	v.settle(s)
	return nil
}

// staged are new bundles that PID 1 was sent and may not have taken yet.
type staged struct {
	unit    string
	entries []string
	// writer is of the last one.
	writer *fdstore.Bundle
}

// stage writes files to the unit's bundle if that has room for all of them, and
// else to new ones, which the caller unstages or settles.
func (v *Vault) stage(unit string, files []*File) (staged, error) {
	s := staged{unit: unit}
	items := make([]fdstore.Item, len(files))
	for i, f := range files {
		items[i] = fdstore.Item{Owner: unit, Name: f.Name, Serial: f.Serial, File: f.F}
	}
	// A request is all or nothing, so its items must not start in one bundle
	// and fail in the next: only a request that fits whole goes on the old one.
	if w := v.units[unit].writer; w != nil && len(items) <= fdstore.MaxPerMessage {
		err := w.Add(items)
		if !errors.Is(err, fdstore.ErrBundleFull) {
			return s, err
		}
	}
	fail := func(err error) (staged, error) {
		v.unstage(s)
		return staged{}, err
	}
	for len(items) > 0 {
		if s.writer == nil {
			b, r, err := fdstore.NewBundle()
			if err != nil {
				return fail(err)
			}
			s.writer = b
			name := bundlePrefix + strconv.FormatUint(v.bundle, 10)
			v.bundle++
			err = v.store.Push(name, r)
			r.Close()
			if err != nil {
				return fail(err)
			}
			s.entries = append(s.entries, name)
		}
		n := min(len(items), fdstore.MaxPerMessage)
		err := s.writer.Add(items[:n])
		if errors.Is(err, fdstore.ErrBundleFull) {
			s.writer.Close()
			s.writer = nil
			continue
		}
		if err != nil {
			return fail(err)
		}
		items = items[n:]
	}
	return s, nil
}

// unstage drops what was staged.
func (v *Vault) unstage(s staged) {
	if s.writer != nil {
		s.writer.Close()
	}
	for _, name := range s.entries {
		v.store.Remove(name)
	}
}

// settle makes what PID 1 has taken the unit's.
func (v *Vault) settle(s staged) {
	h := v.units[s.unit]
	if h.writer != nil {
		h.writer.Close()
	}
	h.writer = s.writer
	h.entries = append(h.entries, s.entries...)
	v.units[s.unit] = h
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
