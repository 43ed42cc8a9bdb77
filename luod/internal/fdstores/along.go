package fdstores

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/printable"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// Forgoing begins the reason why a part of a store is left behind.
const Forgoing = "of its fd store, without what no kernel carries: "

// Sorted are the entries of a store by what becomes of them.
type Sorted struct {
	Taken []storeview.Stored
	// Lost names those that stay behind, and Help is what Recreate= would need more to
	// have some of them made anew. PID 1 does not carry Spoilt as they are.
	Lost, Help, Spoilt []string
}

// Sort says what becomes of the entries of a store whose unit has these kinds in Recreate=.
func Sort(s pid1.Store, recreate []string) Sorted {
	var sorted Sorted
	sorted.Spoilt = spoilt(s)
	for _, e := range s.Entries {
		if s.Native && e.Carried() {
			continue // the same file can't be preserved twice
		}
		if e.Memfd {
			sorted.Taken = append(sorted.Taken, e)
			continue
		}
		kind, err := e.Recreatable()
		if err == nil && slices.Contains(recreate, kind) {
			sorted.Taken = append(sorted.Taken, e)
			continue
		}
		text := fmt.Sprintf("%q (%s)", e.Name, printable.Line(e.Path))
		if err != nil && len(recreate) > 0 {
			text = fmt.Sprintf("%q (%s: %v)", e.Name, printable.Line(e.Path), err)
		}
		sorted.Lost = append(sorted.Lost, text)
		if err == nil && !slices.Contains(sorted.Help, kind) {
			sorted.Help = append(sorted.Help, kind)
		}
	}
	slices.Sort(sorted.Help)
	if len(sorted.Help) > 0 {
		// The key takes a list, and what is there already has to be in it.
		sorted.Help = slices.Compact(slices.Sorted(slices.Values(slices.Concat(recreate, sorted.Help))))
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
	first := map[fileid.ID]string{}
	for _, e := range s.Entries {
		id := fileid.ID{Device: e.Device, Inode: e.Inode}
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

// Argument is what luod-adopt is told of a unit's store.
func Argument(unit string, s pid1.Store) string {
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
