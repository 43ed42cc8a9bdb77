package memory

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/restorer"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// pageSize is the unit that the kernel preserves memory in, at least.
const pageSize = 4096

// What the kernel needs beside the pages themselves, for as long as a file is preserved
// (mm/memfd_luo.c): 16 bytes for each page that go along (struct memfd_luo_folio_ser) and
// 8 for a list while it packs, which is 0.59 %; and three pages for each file, which hold
// its description, the beginning of that list, and where the list is.
const (
	listPerMille = 6
	listPerFile  = 3 * pageSize
)

// Item is what one file takes more than it has now, in bytes.
type Item struct {
	File *vault.File
	// Size is the file's, in whole pages.
	Size int64
	// Holes are filled, Swapped comes back to memory, and Lists are the kernel's.
	Holes, Swapped, Lists int64
	// Copy is what the next kernel's luod needs to give back exactly its seals, and
	// Spare says that it may do without, since nobody can write to it anyway.
	Copy  int64
	Spare bool
}

func (i Item) packing() int64 { return add(i.Holes, i.Swapped, i.Lists) }

// Demand is what all files take.
type Demand []Item

// Need looks at files, which it borrows. swapped is how much is swapped out in the whole
// system: no file can have more.
func Need(files []*vault.File, swapped int64) (Demand, error) {
	d := make(Demand, 0, len(files))
	for _, f := range files {
		facts, err := vault.Look(f.F)
		if err != nil {
			return nil, fmt.Errorf("measure %q of %s: %w", f.Name, f.Unit, err)
		}
		i := Item{File: f, Size: pages(facts.Size)}
		i.Holes = max(0, i.Size-facts.Allocated)
		i.Lists = add(i.Size/1000*listPerMille, listPerFile)
		if swapped > 0 {
			i.Swapped = min(evicted(f.F, facts.Allocated), swapped)
		}
		if restorer.NeedsCopy(facts) {
			// Pages of zeros are holes in a copy.
			i.Copy, i.Spare = facts.Allocated, facts.Seals&unix.F_SEAL_WRITE != 0
		}
		d = append(d, i)
	}
	return d, nil
}

// pages rounds bytes up to whole pages.
func pages(bytes int64) int64 {
	if rest := bytes % pageSize; rest > 0 {
		return add(bytes, pageSize-rest)
	}
	return bytes
}

// add adds what isn't negative, and stays at the largest number there is: a memfd may
// say that it has 8 EiB.
func add(numbers ...int64) int64 {
	sum := int64(0)
	for _, n := range numbers {
		if sum += n; sum < 0 {
			return 1<<63 - 1
		}
	}
	return sum
}
