package entryname

import (
	"fmt"
	"strings"
)

// storePrefix begins the name of a file that was taken out of a unit's fd store,
// where several may have one name. No name that a service gives has a colon.
const storePrefix = "store:"

// StoreName is what luod calls the i-th file that came out of a unit's fd store.
func StoreName(i int, name string) string { return fmt.Sprintf("%s%d:%s", storePrefix, i, name) }

// directoryPrefix begins the name of a file that holds a packed directory.
const directoryPrefix = "directory:"

// DirectoryName is what luod calls the file that holds the directory at path.
func DirectoryName(path string) string { return directoryPrefix + path }

// Directory returns the path of the directory that the file of this name holds, and
// false if it is another file.
func Directory(name string) (path string, is bool) {
	return strings.CutPrefix(name, directoryPrefix)
}

// recreatePrefix and samePrefix begin the names of files that hold a description
// (package recipe) in place of an entry of a fd store: of what is made anew,
// and of one more open file description of a memfd that is carried.
const (
	recreatePrefix = "recreate:"
	samePrefix     = "same:"
)

// RecreateName is what luod calls the description of the i-th entry of a unit's fd
// store, which is made anew.
func RecreateName(i int, name string) string { return fmt.Sprintf("%s%d:%s", recreatePrefix, i, name) }

// SameName is what luod calls the description of the i-th entry of a unit's fd
// store, which shares its memfd with another.
func SameName(i int, name string) string { return fmt.Sprintf("%s%d:%s", samePrefix, i, name) }

// Recreated says whether the file of this name describes what is made anew.
func Recreated(name string) bool { return strings.HasPrefix(name, recreatePrefix) }

// Same says whether the file of this name describes an entry that shares its memfd
// with another.
func Same(name string) bool { return strings.HasPrefix(name, samePrefix) }

// OfNoUse says whether the file of this name is of no use to its unit: a packed
// directory, in which may be what the unit must not read, or a description.
// luod-reissue puts it back.
func OfNoUse(name string) bool {
	_, packed := Directory(name)
	return packed || Recreated(name) || Same(name)
}

// Adopted says whether name is of a file that luod took over itself, from a fd store
// or of a directory, and that goes back there.
func Adopted(name string) bool {
	return strings.HasPrefix(name, storePrefix) || strings.HasPrefix(name, directoryPrefix) || Recreated(name) || Same(name)
}

// PlainName is what the file was called in the store, or the directory's path, or
// else name.
func PlainName(name string) string {
	if path, is := Directory(name); is {
		return path
	}
	if !Adopted(name) {
		return name
	}
	parts := strings.SplitN(name, ":", 3)
	return parts[len(parts)-1]
}

// Plainly lists names as their unit knows them.
func Plainly(names []string) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = fmt.Sprintf("%q", PlainName(name))
	}
	return strings.Join(texts, ", ")
}
