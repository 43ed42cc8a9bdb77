package intake

import (
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Vault is what luod holds already.
type Vault interface {
	// Files are what it holds for a unit.
	Files(unit string) []*vault.File
	// Holder is the file that it holds, for whatever unit, or nil.
	Holder(id fileid.ID) *vault.File
	// Select returns the unit's files of these names; the error says that one is missing.
	Select(unit string, names []string) ([]*vault.File, error)
}

// Intake is what is taken over from the fd stores of units (Preserve=fdstore) for
// one update. PID 1 drops its own when a unit stops, so all of it is in the vault before
// the first one is stopped.
type Intake struct {
	// Caller is the unit that may hand files over, and Units those it may for.
	Caller string
	Units  map[string]bool
	// Files are those that came and are not in the vault yet; packed directories stay
	// here.
	Files map[string][]*vault.File
	// Skipped counts what the vault holds already, and what is left behind.
	Skipped map[string]int
	// seen are the names of memfds that came, or for which the vault's stands, by unit;
	// and matched those of the vault's descriptions that stand for what came.
	seen    map[string]map[fileid.ID]string
	matched map[*vault.File]bool
	// Directories are the paths that may come packed, by unit.
	Directories map[string][]string
	// Late are the units that PID 1 keeps the store of while they are stopped, and
	// that may still change it when they do: it is looked at once more then.
	Late []string

	vault Vault
	// recreate are the kinds that a unit has in Recreate=.
	recreate func(unit string) []string
}

// New makes an intake of what is not in v. recreate returns the kinds of Recreate= of a unit.
func New(v Vault, recreate func(unit string) []string) *Intake {
	return &Intake{Files: map[string][]*vault.File{}, Skipped: map[string]int{}, Units: map[string]bool{}, Directories: map[string][]string{}, vault: v, recreate: recreate}
}

// Close closes what is not in the vault; a may be nil.
func (a *Intake) Close() {
	if a == nil {
		return
	}
	for _, files := range a.Files {
		for _, f := range files {
			f.F.Close()
		}
	}
	a.Files = nil
}

// Begin forgets what came of units before, but for directories.
func (a *Intake) Begin(caller string, units map[string]pid1.Store) {
	a.Caller = caller
	a.Skipped, a.seen, a.matched = map[string]int{}, nil, nil
	for unit := range units {
		a.Units[unit] = true
	}
}

// Take takes files over that were copied out of unit's fd store, in the order in which they
// are to be pushed again. On success a owns them; on an error the caller does.
func (a *Intake) Take(unit string, names []string, files []*os.File) error {
	if len(names) != len(files) {
		return fault.New(errorname.BadRequest, "%d names were given for %d file descriptors", len(names), len(files))
	}
	in := call{a: a, unit: unit, seen: maps.Clone(a.seen[unit]), matched: maps.Clone(a.matched)}
	for i, f := range files {
		if err := in.take(names[i], f); err != nil {
			for _, f := range in.made {
				f.Close()
			}
			return fmt.Errorf("take over %q of %s: %w", names[i], unit, err)
		}
	}
	in.commit()
	return nil
}

// Names are luod's of what is in a unit's store: what came, and what of the vault stands
// for the rest.
func (a *Intake) Names(unit string) []string {
	names := slices.Collect(maps.Values(a.seen[unit]))
	for _, f := range a.vault.Files(unit) {
		if a.matched[f] {
			names = append(names, f.Name)
		}
	}
	for _, f := range a.Files[unit] {
		names = append(names, f.Name)
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		_, packed := entryname.Directory(name)
		return packed || !entryname.Adopted(name)
	})
	slices.Sort(names)
	return slices.Compact(names)
}

// Replaced returns the names of what the vault has of a unit's store, copied before, that
// the unit has replaced since. The error (StoreChanged) says what went away without that.
func (a *Intake) Replaced(unit string, copied []string) ([]string, error) {
	came := map[string]int{}
	for _, f := range a.Files[unit] {
		came[entryname.PlainName(f.Name)]++
	}
	stands := map[string]bool{}
	for _, name := range a.seen[unit] {
		stands[name] = true
	}
	var replaced []string
	for _, f := range a.vault.Files(unit) {
		_, packed := entryname.Directory(f.Name)
		if !entryname.Adopted(f.Name) || packed || stands[f.Name] || a.matched[f] {
			continue
		}
		if !slices.Contains(copied, f.Name) {
			continue // it waits for the unit since an earlier start, and comes along
		}
		plain := entryname.PlainName(f.Name)
		if came[plain] == 0 {
			return nil, fault.New(errorname.StoreChanged, "%q was in the fd store of %s, and was gone when the unit had stopped: either the unit removed it, or PID 1 has forgotten its store (systemd 254 to 260 do so with units that nothing refers to); luod holds it, and a start of the unit gets it", plain, unit)
		}
		came[plain]--
		replaced = append(replaced, f.Name)
	}
	return replaced, nil
}
