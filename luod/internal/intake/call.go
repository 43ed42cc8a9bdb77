package intake

import (
	"fmt"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/recipe"
	"github.com/liveupdate/luod/internal/sdnotify"
	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// call is what one call hands over, until all of it is known to be good.
type call struct {
	a    *Intake
	unit string
	// taken come along, done are no longer needed, and made are those of taken that
	// were made here.
	taken      []*vault.File
	done, made []*os.File
	skipped    int
	seen       map[fileid.ID]string
	matched    map[*vault.File]bool
}

// commit makes the intake the owner.
func (in *call) commit() {
	a := in.a
	if a.seen == nil {
		a.seen = map[string]map[fileid.ID]string{}
	}
	a.Files[in.unit] = append(a.Files[in.unit], in.taken...)
	a.Skipped[in.unit] += in.skipped
	a.seen[in.unit], a.matched = in.seen, in.matched
	for _, f := range in.done {
		f.Close()
	}
}

func (in *call) add(name string, f *os.File) {
	in.taken = append(in.taken, &vault.File{Unit: in.unit, Name: name, F: f})
}

// skip lets the vault's stand for f.
func (in *call) skip(f *os.File) {
	in.skipped++
	in.done = append(in.done, f)
}

func (in *call) take(name string, f *os.File) error {
	if _, err := vault.Look(f); err != nil {
		return err
	}
	path, packed := entryname.Directory(name)
	switch {
	case packed && !slices.Contains(in.a.Directories[in.unit], path):
		return fault.New(errorname.NotPreparing, "it is no directory that comes along")
	case packed:
		in.add(name, f)
		return nil
	case entryname.Recreated(name):
		return in.takeDescription(entryname.PlainName(name), f)
	}
	if err := sdnotify.CheckName(name); err != nil {
		return fault.New(errorname.BadRequest, "%w", err)
	}
	return in.takeMemfd(name, f)
}

// takeDescription takes the description of what is made anew. What the vault holds
// the like of is in the unit's store because luod had it put there, for the start
// that the unit has only just made; or luod was killed after it had taken the store
// over for directories.
func (in *call) takeDescription(plain string, f *os.File) error {
	if err := sdnotify.CheckName(plain); err != nil {
		return fault.New(errorname.BadRequest, "%w", err)
	}
	d, err := recipe.Read(f)
	if err != nil {
		return fault.New(errorname.BadRequest, "%w", err)
	}
	kind := storeview.Files
	switch {
	case d.Same != nil:
		return fault.New(errorname.BadRequest, "only luod itself describes what shares a memfd")
	case d.Socket != nil:
		kind = storeview.Sockets
	}
	if !slices.Contains(in.a.recreate(in.unit), kind) {
		return fault.New(errorname.NotPreparing, "%s has no Recreate=%s", in.unit, kind)
	}
	if in.matches(entryname.Recreated, plain, d) {
		in.skip(f)
		return nil
	}
	in.add(in.free(entryname.RecreateName, plain), f)
	return nil
}

// takeMemfd takes a memfd, and of one that came already only what is different of
// this open file description.
func (in *call) takeMemfd(plain string, f *os.File) error {
	id, err := fileid.Of(f)
	if err != nil {
		return err
	}
	if in.seen == nil {
		in.seen = map[fileid.ID]string{}
	}
	if of, is := in.seen[id]; is {
		return in.share(plain, of, f)
	}
	if holder := in.a.vault.Holder(id); holder != nil {
		if holder.Unit != in.unit {
			return fault.New(errorname.FileInUse, "%s has the same memfd preserved, and the kernel preserves it once", holder.Unit)
		}
		if !entryname.Adopted(holder.Name) && !stands(holder, plain, f) {
			return in.share(plain, holder.Name, f)
		}
		in.seen[id] = holder.Name
		in.skip(f)
		return nil
	}
	for unit, seen := range in.a.seen {
		if _, is := seen[id]; is && unit != in.unit {
			return fault.New(errorname.FileInUse, "the fd store of %s has the same memfd, and the kernel preserves it once", unit)
		}
	}
	name := in.free(entryname.StoreName, plain)
	in.seen[id] = name
	in.add(name, f)
	return nil
}

// stands says whether what a unit has handed over itself is the entry too: of the same
// name, and opened alike.
func stands(holder *vault.File, plain string, f *os.File) bool {
	of, err := vault.Flags(holder.F)
	if err != nil || holder.Name != plain {
		return false
	}
	is, err := vault.Flags(f)
	return err == nil && of&recipe.SameFlags == is&recipe.SameFlags
}

// share describes f in place of taking it.
func (in *call) share(plain, of string, f *os.File) error {
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		return fmt.Errorf("read its flags: %w", err)
	}
	offset, err := unix.Seek(int(f.Fd()), 0, unix.SEEK_CUR)
	if err != nil {
		return fmt.Errorf("read its position: %w", err)
	}
	d := recipe.Recipe{Same: &recipe.Same{Of: of, Flags: flags & recipe.SameFlags, Offset: offset}}
	if in.matches(entryname.Same, plain, d) {
		in.skip(f)
		return nil
	}
	memfd, err := d.Memfd()
	if err != nil {
		return err
	}
	in.made, in.done = append(in.made, memfd), append(in.done, f)
	in.add(in.free(entryname.SameName, plain), memfd)
	return nil
}

// matches looks for a description of the like of d in the vault; each stands for one.
func (in *call) matches(kind func(name string) bool, plain string, d recipe.Recipe) bool {
	for _, held := range in.a.vault.Files(in.unit) {
		if !kind(held.Name) || entryname.PlainName(held.Name) != plain || in.matched[held] {
			continue
		}
		if other, err := recipe.Read(held.F); err == nil && other.Alike(d) {
			if in.matched == nil {
				in.matched = map[*vault.File]bool{}
			}
			in.matched[held] = true
			return true
		}
	}
	return false
}

// free is the name that the next one gets: its place in the order is in it, and
// nothing that the vault still has is called so.
func (in *call) free(name func(i int, plain string) string, plain string) string {
	for n := len(in.a.Files[in.unit]) + len(in.taken); ; n++ {
		full := name(n, plain)
		taken := func(f *vault.File) bool { return f.Name == full }
		if _, err := in.a.vault.Select(in.unit, []string{full}); err != nil && !slices.ContainsFunc(in.a.Files[in.unit], taken) && !slices.ContainsFunc(in.taken, taken) {
			return full
		}
	}
}
