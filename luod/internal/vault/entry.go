package vault

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// bundlePrefix begins the name of every entry of ours in the fd store.
const bundlePrefix = "bundle-"

// IsEntry says whether a name in the fd store is of a vault's making.
func IsEntry(name string) bool { return strings.HasPrefix(name, bundlePrefix) }

func number(entry string) uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(entry, bundlePrefix), 10, 64)
	return n
}

// entry is a name in the fd store, under which PID 1 keeps one bundle or more.
type entry struct {
	name string
	// users counts the units that have something in it, which is one for what we
	// made, and bundles that could not be read.
	users int
}

// drop gives up what units have in entries: all of it is safe in others, or nobody's.
// An error says that PID 1 could not be told to remove some entry that nobody has
// anything in; it is told again at the next occasion.
//
// Killed before it is: the next start finds in them what was given up.
func (v *Vault) drop(entries ...*entry) error {
	for _, e := range entries {
		if e.users--; e.users == 0 {
			v.stale = append(v.stale, e.name)
		}
	}
	return v.sweep()
}

// sweep has PID 1 remove the entries that are stale. Those for which that fails stay
// so, and every change begins with trying again.
func (v *Vault) sweep() error {
	var failed []error
	v.stale = slices.DeleteFunc(v.stale, func(name string) bool {
		err := v.store.Remove(name)
		failed = append(failed, err)
		return err == nil
	})
	return errors.Join(failed...)
}
