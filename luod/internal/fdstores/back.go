package fdstores

import (
	"slices"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Origin is what is known of how a unit that runs came by its fd store.
type Origin struct {
	// Back are the names of which PID 1 had the files when the unit was started.
	Back []string
	// Copied are the names of what was in the store when it was copied, if the unit runs
	// since before that: PID 1 has kept it all the time, but for what the unit itself has
	// removed. What luod held besides was never there.
	Copied []string
}

// Dispensable returns the names of those held that PID 1 has, or had for a start of the
// unit which may have used them up since; all are what the vault has of the unit.
func (o Origin) Dispensable(held, all []*vault.File, store []storeview.Stored) []string {
	there := Presence(store)
	var names []string
	for _, f := range held {
		if slices.Contains(o.Copied, f.Name) || slices.Contains(o.Back, f.Name) || there.Has(f, all) {
			names = append(names, f.Name)
		}
	}
	return names
}

// InStore is what a fd store has; each entry stands for one file.
type InStore struct {
	memfds map[fileid.ID]int
	// named are the memfds under each name, and others the rest.
	named  map[namedFile]int
	others map[string]int
}

type namedFile struct {
	name string
	id   fileid.ID
}

// Presence counts what is in a store, for Has.
func Presence(store []storeview.Stored) InStore {
	p := InStore{memfds: map[fileid.ID]int{}, named: map[namedFile]int{}, others: map[string]int{}}
	for _, e := range store {
		if !e.Memfd {
			p.others[e.Name]++
			continue
		}
		id := fileid.ID{Device: e.Device, Inode: e.Inode}
		p.memfds[id]++
		p.named[namedFile{e.Name, id}]++
	}
	return p
}

// Has says whether f is there, whose unit has all in the vault. A packed directory is
// in no store: who has unpacked it says so.
func (p InStore) Has(f *vault.File, all []*vault.File) bool {
	plain := entryname.PlainName(f.Name)
	_, packed := entryname.Directory(f.Name)
	switch {
	case packed:
		return false
	case entryname.Recreated(f.Name):
		p.others[plain]--
		return p.others[plain] >= 0
	case entryname.Same(f.Name):
		return p.hasSame(f, plain, all)
	}
	id, err := fileid.Of(f.F)
	return err == nil && p.memfds[id] > 0
}

// hasSame is for the description of an entry that shares its memfd with another.
func (p InStore) hasSame(f *vault.File, plain string, all []*vault.File) bool {
	d, err := recipe.Read(f.F)
	if err != nil || d.Same == nil {
		return false
	}
	i := slices.IndexFunc(all, func(o *vault.File) bool { return o.Name == d.Same.Of })
	if i < 0 {
		return false
	}
	id, err := fileid.Of(all[i].F)
	if err != nil {
		return false
	}
	others := 0
	if entryname.PlainName(all[i].Name) == plain {
		others = 1 // the entry of the memfd itself
	}
	key := namedFile{plain, id}
	p.named[key]--
	return p.named[key] >= others
}
