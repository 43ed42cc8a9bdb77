package bootentry

import (
	"cmp"
	"path"
	"strings"

	"github.com/liveupdate/luod/kexec/version"
)

// compare is the order of UAPI.1 "Sorting", as boot_entry_compare of bootspec.c
// has it: what has no tries left is last, what has a sort key first, the newest
// first.
func compare(a, b Entry) int {
	if c := cmp.Or(
		compareBool(a.TriesLeft == 0, b.TriesLeft == 0),
		compareBool(a.SortKey == "", b.SortKey == ""),
	); c != 0 {
		return c
	}
	if a.SortKey != "" {
		if c := cmp.Or(
			strings.Compare(a.SortKey, b.SortKey),
			strings.Compare(a.MachineID, b.MachineID),
			-version.Compare(a.Version, b.Version),
		); c != 0 {
			return c
		}
	}
	fileA, _, _ := strings.Cut(a.stem(), "@")
	fileB, _, _ := strings.Cut(b.stem(), "@")
	return cmp.Or(
		-version.Compare(fileA, fileB),
		cmp.Compare(a.Profile, b.Profile),
		-cmp.Compare(a.TriesLeft, b.TriesLeft),
		cmp.Compare(a.TriesDone, b.TriesDone),
	)
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// comparePlain puts rescue kernels last and the newest first. One that is not in
// /boot comes after those that are: nobody has installed it for booting.
func comparePlain(a, b Entry) int {
	return cmp.Or(
		compareBool(a.rescue(), b.rescue()),
		compareBool(a.uninstalled(), b.uninstalled()),
		-version.Compare(a.Version, b.Version),
	)
}

// rescue says that an entry is for emergencies only, by the names that dracut and
// mkinitcpio give.
func (e Entry) rescue() bool {
	for _, name := range append([]string{e.ID, path.Base(e.Kernel)}, e.Initrds...) {
		name = path.Base(name)
		if strings.Contains(name, "rescue") || strings.Contains(name, "fallback") {
			return true
		}
	}
	return false
}

func (e Entry) uninstalled() bool { return path.Base(e.Kernel) == "vmlinuz" }
