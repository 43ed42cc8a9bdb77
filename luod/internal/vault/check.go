package vault

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/fileid"
	"github.com/liveupdate/luod/internal/sdnotify"
)

// MaxPerCall is how many files are taken in one call.
const MaxPerCall = 1024

// check decides whether unit may hand over files under names and returns their
// facts. It changes nothing.
func (v *Vault) check(unit string, names []string, files []*os.File, limits Limits) ([]Facts, error) {
	switch {
	case len(names) != len(files):
		return nil, refuse(BadCount, "%d names were given for %d file descriptors", len(names), len(files))
	case len(names) == 0:
		return nil, refuse(BadCount, "no file descriptor was given")
	case len(v.units[unit].files)+len(names) > limits.Files:
		return nil, refuse(TooMany, "%s would have %d file descriptors preserved: at most %d are allowed (%s= of luod.conf)", unit, len(v.units[unit].files)+len(names), limits.Files, filesMax)
	}
	newNames := map[string]bool{}
	newInodes := map[fileid.ID]string{}
	facts := make([]Facts, len(files))
	for i, name := range names {
		if err := checkName(name); err != nil {
			return nil, refuse(InvalidName, "%v", err)
		}
		if newNames[name] {
			return nil, refuse(NameInUse, "the name %q is given twice in one call", name)
		}
		if v.find(unit, name) != nil {
			return nil, refuse(NameInUse, "%s already has a file descriptor %q preserved: Release it first, or take another name", unit, name)
		}
		newNames[name] = true
		f, err := Look(files[i])
		if err != nil {
			return nil, inCall(i, name, err)
		}
		if other, twice := newInodes[f.inode]; twice {
			return nil, refuse(FileInUse, "the file descriptors %q and %q are the same file: the kernel preserves a file once", other, name)
		}
		if holder := v.inodes[f.inode]; holder != nil {
			if holder.Unit == unit {
				return nil, refuse(FileInUse, "the file of %q is already preserved as %q: the kernel preserves a file once", name, holder.Name)
			}
			// Which unit it is, is not this unit's business.
			return nil, refuse(FileInUse, "the file of %q is already preserved for another unit: the kernel preserves a file once", name)
		}
		newInodes[f.inode] = name
		facts[i] = f
	}
	bytes := int64(0)
	if limits.Bytes < unlimited { // a look at all for each call adds up
		v.refresh(unit)
		bytes = v.units[unit].bytes
	}
	for _, f := range facts {
		bytes += f.Size
	}
	if bytes > limits.Bytes {
		return nil, refuse(TooMany, "%s would have %d bytes preserved: at most %d are allowed (%s= of luod.conf)", unit, bytes, limits.Bytes, bytesMax)
	}
	return facts, nil
}

// inCall says of which descriptor of a call err is.
func inCall(i int, name string, err error) error {
	var refusal *Refusal
	if errors.As(err, &refusal) {
		return refuse(refusal.Reason, "file descriptor %d of the call (%q) can't be preserved: %s", i, name, refusal.Text)
	}
	return fmt.Errorf("file descriptor %q: %w", name, err)
}

// pathMax is PATH_MAX of linux/limits.h.
const pathMax = 4096

// checkName refuses what no file can be called: of what came out of a fd store, what
// PID 1 would refuse, and of a packed directory, what is no path.
func checkName(name string) error {
	path, is := entryname.Directory(name)
	switch {
	case !is:
		return sdnotify.CheckName(entryname.PlainName(name))
	case path == "" || len(path) >= pathMax || strings.ContainsRune(path, 0) || !utf8.ValidString(path):
		return fmt.Errorf("%q is no path of a directory", path)
	}
	return nil
}
