package bootentry

import (
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// System says where to look; the zero value is this machine.
type System struct {
	// Root is put before every path; for tests.
	Root string
	// MachineID is this installation's; empty reads /etc/machine-id.
	MachineID string
	// Architecture is GOARCH's name; empty is this program's.
	Architecture string
}

func (s System) path(elements ...string) string {
	return filepath.Join(append([]string{"/", s.Root}, elements...)...)
}

// Find returns everything there is to boot, best first, and what was skipped. One
// entry is marked as the default unless none is fit to be. It returns no error
// for a machine without any entries, but one if no boot partition can be read.
func (s System) Find() ([]Entry, []Skipped, error) {
	if s.Architecture == "" {
		s.Architecture = runtime.GOARCH
	}
	if s.MachineID == "" {
		id, _ := readFile(s.path("etc/machine-id"), maxFile) // without, every entry's is as good
		// Before the first boot is over, it is none (machine-id(5)).
		if s.MachineID = strings.TrimSpace(string(id)); s.MachineID == "uninitialized" {
			s.MachineID = ""
		}
	}
	partitions, skipped, err := s.partitions()
	if err != nil {
		return nil, nil, err
	}
	var entries []Entry
	for _, p := range partitions {
		defer p.root.Close()
		addons, bad := s.addonsIn(p, "loader/addons")
		p.addons, skipped = addons, append(skipped, bad...)
		for _, read := range []func(System, partition) ([]Entry, []Skipped){System.type1, System.type2} {
			found, bad := read(s, p)
			entries, skipped = append(entries, found...), append(skipped, bad...)
		}
	}
	slices.SortStableFunc(entries, compare)
	plain, bad := s.plain(entries)
	slices.SortStableFunc(plain, comparePlain)
	entries, skipped = append(entries, plain...), append(skipped, bad...)
	s.markDefault(entries, partitions)
	return entries, skipped, nil
}
