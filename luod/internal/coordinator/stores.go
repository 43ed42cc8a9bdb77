package coordinator

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
)

// stores asks PID 1 for the fd stores that are to come along, and refuses what no
// kernel can carry and nobody makes anew, unless its unit lets the update go on
// without. The stores have only the entries that luod takes over: not those that are
// left behind, nor what PID 1 carries by itself. It works without the
// lock.
func (c *Coordinator) stores(ctx context.Context, declared map[string]*unitsection.Section, options record.Options) (map[string]pid1.Store, []manifest.LeftBehind, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var units []string
	for unit, d := range declared {
		if d.Store {
			units = append(units, unit)
		}
	}
	slices.Sort(units)
	stores, err := c.Units.Stores(ctx, units)
	if err != nil {
		return nil, nil, fault.New(errorname.NoManager, "look into the fd stores: %w", err)
	}
	if err := c.shared(ctx, stores); err != nil {
		return nil, nil, err
	}
	var without []manifest.LeftBehind
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		s := stores[unit]
		if most := declared[unit].StoreMax; most != nil && s.Count > *most {
			return nil, nil, fault.New(errorname.WouldNotFit, "no live update is possible: the fd store of %s has %d entries, and by its unit files the next start has room for %d (FileDescriptorStoreMax=); raise it", unit, s.Count, *most)
		}
		s.Native = s.Native && !options.Fast // a fast jump leaves PID 1 out
		sorted := sortEntries(s, declared[unit].Recreate)
		s.Entries = sorted.taken
		stores[unit] = s
		if len(s.Entries) == 0 && (s.Native || !s.Kept) {
			delete(stores, unit)
		}
		if len(sorted.spoilt) > 0 {
			spoilt := strings.Join(sorted.spoilt, ", ")
			if !declared[unit].Optional {
				return nil, nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: PID 1 carries the fd store of %s itself, and would not bring it back as it is: %s; with FileDescriptorStorePreserve=restart in its unit file luod carries it, and with OnFailure=ignore an update goes on anyway", unit, spoilt)
			}
			without = append(without, manifest.LeftBehind{Unit: unit, Reason: "of its fd store, PID 1 does not carry as it is: " + spoilt})
		}
		if len(sorted.lost) == 0 {
			continue
		}
		lost := strings.Join(sorted.lost, ", ")
		if !declared[unit].Optional {
			hint := ""
			if len(sorted.help) > 0 {
				hint = fmt.Sprintf("; with Recreate=%s in its unit file they are made anew, see luod(8)", strings.Join(sorted.help, " "))
			}
			return nil, nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: the fd store of %s holds what no kernel carries: %s%s; with OnFailure=ignore in its unit file an update goes on without", unit, lost, hint)
		}
		without = append(without, manifest.LeftBehind{Unit: unit, Reason: forgoing + lost})
	}
	more, err := c.reissuable(ctx, declared, stores)
	if err != nil {
		return nil, nil, err
	}
	return stores, append(without, more...), nil
}

// forgoing begins the reason why a part of a store is left behind.
const forgoing = "of its fd store, without what no kernel carries: "

// sortedEntries are the entries of a store by what becomes of them.
type sortedEntries struct {
	taken []storeview.Stored
	// lost names those that stay behind, and help is what Recreate= would need more to
	// have some of them made anew. PID 1 does not carry spoilt as they are.
	lost, help, spoilt []string
}

func sortEntries(s pid1.Store, recreate []string) sortedEntries {
	var sorted sortedEntries
	sorted.spoilt = spoilt(s)
	for _, e := range s.Entries {
		if s.Native && e.Carried() {
			continue // the same file can't be preserved twice
		}
		if e.Memfd {
			sorted.taken = append(sorted.taken, e)
			continue
		}
		kind, err := e.Recreatable()
		if err == nil && slices.Contains(recreate, kind) {
			sorted.taken = append(sorted.taken, e)
			continue
		}
		text := fmt.Sprintf("%q (%s)", e.Name, e.Path)
		if err != nil && len(recreate) > 0 {
			text = fmt.Sprintf("%q (%s: %v)", e.Name, e.Path, err)
		}
		sorted.lost = append(sorted.lost, text)
		if err == nil && !slices.Contains(sorted.help, kind) {
			sorted.help = append(sorted.help, kind)
		}
	}
	slices.Sort(sorted.help)
	if len(sorted.help) > 0 {
		// The key takes a list, and what is there already has to be in it.
		sorted.help = slices.Compact(slices.Sorted(slices.Values(slices.Concat(recreate, sorted.help))))
	}
	return sorted
}

// spoilt are the entries of a store that PID 1 carries by itself, but not as they are:
// it preserves each descriptor by itself, of which the kernel refuses the second of
// one file (luo_file.c: luo_preserve_file, EBUSY) and gives every one back writable and
// executable (mm/memfd_luo.c: memfd_luo_retrieve), with which F_SEAL_EXEC brings more seals
// (mm/memfd.c: memfd_add_seals).
func spoilt(s pid1.Store) []string {
	if !s.Native {
		return nil
	}
	var list []string
	first := map[fileID]string{}
	for _, e := range s.Entries {
		id := fileID{e.Device, e.Inode}
		of, again := first[id]
		switch {
		case !e.Memfd:
		case again:
			list = append(list, fmt.Sprintf("%q (the memfd of %q once more, and only one comes through)", e.Name, of))
		case e.Mode != 0 && e.Mode&0o111 == 0:
			list = append(list, fmt.Sprintf("%q (not executable, as with MFD_NOEXEC_SEAL, and it would come back executable and perhaps sealed against writing)", e.Name))
		case e.Flags&unix.O_ACCMODE == unix.O_RDONLY:
			list = append(list, fmt.Sprintf("%q (read-only, and it would come back writable)", e.Name))
		case e.Flags&unix.O_ACCMODE == unix.O_WRONLY:
			list = append(list, fmt.Sprintf("%q (write-only, and it would come back readable)", e.Name))
		}
		if !again {
			first[id] = e.Name
		}
	}
	return list
}

// fileID is what tells a file from others: st_dev and st_ino.
type fileID struct{ device, inode uint64 }

// shared refuses a memfd that is in the stores of two units, or in one's and in the
// vault for another: the kernel preserves a file once, and it would be given to one
// of them alone.
func (c *Coordinator) shared(ctx context.Context, stores map[string]pid1.Store) error {
	type holder struct{ unit, name string }
	first := map[fileID]holder{}
	for _, unit := range slices.Sorted(maps.Keys(stores)) {
		for _, e := range stores[unit].Entries {
			id := fileID{e.Device, e.Inode}
			h, is := first[id]
			switch {
			case !e.Memfd:
			case !is:
				first[id] = holder{unit, e.Name}
			case h.unit != unit:
				return fault.New(errorname.FileInUse, "no live update is possible: %q in the fd store of %s and %q in that of %s are the same memfd, which the kernel preserves once; one of them has to be without it", h.name, h.unit, e.Name, unit)
			}
		}
	}
	unlock, err := c.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	for id, h := range first {
		if f := c.vault.Holder(id.device, id.inode); f != nil && f.Unit != h.unit {
			return fault.New(errorname.FileInUse, "no live update is possible: %q in the fd store of %s and %q of %s, which luod holds, are the same memfd, which the kernel preserves once; one of them has to be without it", h.name, h.unit, f.Name, f.Unit)
		}
	}
	return nil
}

func idOf(f *os.File) (fileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fileID{}, fmt.Errorf("look at a file descriptor: %w", err)
	}
	return fileID{st.Dev, st.Ino}, nil
}

// argument is what luod-adopt is told of a unit's store.
func argument(unit string, s pid1.Store) string {
	kinds := map[string]bool{}
	for _, e := range s.Entries {
		kind := "memfds"
		if !e.Memfd {
			kind, _ = e.Recreatable()
		}
		kinds[kind] = true
	}
	if len(kinds) == 1 && kinds["memfds"] {
		return unit
	}
	return unit + "=" + strings.Join(slices.Sorted(maps.Keys(kinds)), ",")
}
