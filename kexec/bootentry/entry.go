package bootentry

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Kind is where an entry comes from.
type Kind string

const (
	Type1 Kind = "type1" // a file in loader/entries
	Type2 Kind = "type2" // a unified kernel image in EFI/Linux
	Plain Kind = "plain" // a kernel image without either
)

// Entry is one thing to boot. All paths are absolute.
type Entry struct {
	// ID is the file's name without its boot counter, as bootctl(1) shows it.
	// Behind it a profile of a unified kernel image has "@" and its ID, or its
	// number unless that is 0.
	ID   string
	Kind Kind
	// Title, Version, SortKey and MachineID are as the entry says, or the
	// image's os-release.
	Title, Version, SortKey, MachineID string
	// Release is the kernel's (uname -r) where a unified kernel image tells it.
	Release string
	// Architecture is GOARCH's name, or "" if the entry doesn't say.
	Architecture string
	// Source is the entry's file, Kernel the image, which may be the same.
	Source, Kernel string
	// Initrds are in the order to load them, without those in a unified kernel
	// image.
	Initrds     []string
	CommandLine string
	// Profile is the number of a unified kernel image's profile. UAPI.5 counts
	// from the first .profile section; an image without any has only 0.
	Profile int
	// Addons are the addons whose command lines are in CommandLine, in this
	// order.
	Addons []string
	// TriesLeft and TriesDone are the boot counter's, or -1 where nothing is
	// counted.
	TriesLeft, TriesDone int
	// Default says that systemctl kexec would boot it.
	Default bool
}

// Skipped is what looks like an entry, or belongs to one, and can't be used, and
// why.
type Skipped struct {
	Source string
	Err    error
}

// listed is how many IDs an error names.
const listed = 10

// Select finds an entry by its ID, with or without suffix, or by a title, version
// or release that only one has. The default is named by "". Of entries with one
// ID it returns the first, which is what a boot loader takes.
func Select(entries []Entry, id string) (Entry, error) {
	if id == "" {
		return selectDefault(entries)
	}
	for _, is := range []func(Entry) bool{
		func(e Entry) bool { return e.ID == id },
		func(e Entry) bool { return e.stem() == id },
		func(e Entry) bool { return e.Kind == Type2 && e.file()+"@"+strconv.Itoa(e.Profile) == id },
	} {
		if i := slices.IndexFunc(entries, is); i >= 0 {
			return entries[i], nil
		}
	}
	for _, field := range []func(Entry) string{
		func(e Entry) string { return e.Title },
		func(e Entry) string { return cmp.Or(e.Release, e.Version) },
		func(e Entry) string { return e.Version },
	} {
		var found []Entry
		for _, e := range entries {
			if field(e) == id {
				found = append(found, e)
			}
		}
		if len(found) == 1 {
			return found[0], nil
		}
		if len(found) > 1 {
			return Entry{}, fmt.Errorf("find boot entry %q: that could be %s", id, ids(found))
		}
	}
	if len(entries) == 0 {
		return Entry{}, fmt.Errorf("find boot entry %q: there is none at all, and no kernel in /boot; name a kernel by its path", id)
	}
	return Entry{}, fmt.Errorf("find boot entry %q: there is none of that name; there are %s", id, ids(entries))
}

func selectDefault(entries []Entry) (Entry, error) {
	if i := slices.IndexFunc(entries, func(e Entry) bool { return e.Default }); i >= 0 {
		return entries[i], nil
	}
	if len(entries) == 0 {
		return Entry{}, errors.New("find the default boot entry: there is no boot entry and no kernel in /boot; name a kernel by its path")
	}
	return Entry{}, fmt.Errorf("find the default boot entry: what there is belongs to another installation or is for rescue; name one of %s", ids(entries))
}

func ids(entries []Entry) string {
	var list []string
	for _, e := range entries[:min(len(entries), listed)] {
		list = append(list, e.ID)
	}
	if more := len(entries) - listed; more > 0 {
		list = append(list, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, ", ")
}

// file is the ID without a profile.
func (e Entry) file() string {
	if i := strings.LastIndexByte(e.ID, '@'); e.Kind == Type2 && i >= 0 && hasSuffixFold(e.ID[:i], typeTwoSuffix) {
		return e.ID[:i]
	}
	return e.ID
}

// stem is the ID without suffix, and with the profile if there is one.
func (e Entry) stem() string {
	file := e.file()
	for _, suffix := range []string{typeOneSuffix, typeTwoSuffix} {
		if e.Kind != Plain && hasSuffixFold(file, suffix) {
			return file[:len(file)-len(suffix)] + e.ID[len(file):]
		}
	}
	return e.ID
}

// hasSuffixFold ignores the case, as the FAT of a boot partition does.
func hasSuffixFold(s, suffix string) bool {
	return len(s) > len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix)
}

// printable makes of text what a terminal and a D-Bus string can take.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// validName says that a name is fit to be in an ID. systemd's userspace
// (efi_loader_entry_name_valid) takes fewer characters, but its boot loader asks
// for nothing.
func validName(name string) error {
	if printable(name) != name {
		return fmt.Errorf("use %q for an ID: it has a character that can't be shown", name)
	}
	return nil
}
