package bootentry

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/liveupdate/luod/kexec/pe/petest"
)

const (
	ownID   = "6a9857a393724b7a981ebb5b8495b9ea"
	otherID = "00000000000000000000000000000001"
	amd64   = 0x8664
)

// machine is a directory that stands for a machine's root.
type machine struct {
	t    *testing.T
	root string
}

func newMachine(t *testing.T) machine {
	t.Helper()
	m := machine{t, t.TempDir()}
	m.write("etc/machine-id", ownID+"\n")
	return m
}

func (m machine) write(name, text string) {
	m.t.Helper()
	file := m.path(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m machine) path(name string) string { return filepath.Join(m.root, name) }

// kernels writes files that only have to be there.
func (m machine) kernels(names ...string) {
	m.t.Helper()
	for _, name := range names {
		m.write(name, name)
	}
}

func (m machine) variable(name, text string) {
	m.t.Helper()
	b := []byte{6, 0, 0, 0}
	for _, u := range append(utf16.Encode([]rune(text)), 0) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	m.write("sys/firmware/efi/efivars/"+name+"-"+loaderVendor, string(b))
}

// uki writes a unified kernel image. A section is NAME=TEXT.
func (m machine) uki(name string, sections ...string) {
	m.t.Helper()
	m.write(name, string(peImage(amd64, sections...)))
}

func peImage(coff uint16, sections ...string) []byte {
	var list []petest.Section
	for _, s := range sections {
		name, text, _ := strings.Cut(s, "=")
		list = append(list, petest.Section{Name: name, Data: []byte(text)})
	}
	return petest.Image(coff, list...)
}

func (m machine) system() System { return System{Root: m.root, Architecture: "amd64"} }

func (m machine) find() ([]Entry, []Skipped) {
	m.t.Helper()
	entries, skipped, err := m.system().Find()
	if err != nil {
		m.t.Fatal(err)
	}
	defaults := 0
	for _, e := range entries {
		if e.Default {
			defaults++
		}
		for _, p := range append([]string{e.Source, e.Kernel}, slices.Concat(e.Initrds, e.Addons)...) {
			if !strings.HasPrefix(p, m.root) || filepath.Clean(p) != p {
				m.t.Errorf("%s: %s is no clean path below %s", e.ID, p, m.root)
			}
		}
	}
	if defaults > 1 {
		m.t.Errorf("%d entries are the default", defaults)
	}
	return entries, skipped
}

// clean is find where nothing may be skipped.
func (m machine) clean() []Entry {
	m.t.Helper()
	entries, skipped := m.find()
	for _, s := range skipped {
		m.t.Errorf("skipped %s: %v", s.Source, s.Err)
	}
	return entries
}

func (m machine) one() Entry {
	m.t.Helper()
	entries := m.clean()
	if len(entries) != 1 {
		m.t.Fatalf("found %v, not one", idsOf(entries))
	}
	return entries[0]
}

func idsOf(entries []Entry) []string {
	var list []string
	for _, e := range entries {
		list = append(list, e.ID)
	}
	return list
}

func defaultOf(entries []Entry) string {
	for _, e := range entries {
		if e.Default {
			return e.ID
		}
	}
	return ""
}

func (m machine) expectIDs(entries []Entry, want ...string) {
	m.t.Helper()
	if got := idsOf(entries); !slices.Equal(got, want) {
		m.t.Errorf("found %v\nwant  %v", got, want)
	}
}

func (m machine) expectPaths(got []string, want ...string) {
	m.t.Helper()
	var full []string
	for _, w := range want {
		full = append(full, m.path(w))
	}
	if !slices.Equal(got, full) {
		m.t.Errorf("got  %v\nwant %v", got, full)
	}
}

// expectSkipped wants one to be skipped, with a reason that has a text.
func (m machine) expectSkipped(name, reason string) []Entry {
	m.t.Helper()
	entries, skipped := m.find()
	for _, s := range skipped {
		if s.Source == m.path(name) {
			if !strings.Contains(s.Err.Error(), reason) {
				m.t.Errorf("skipped because of %q, want %q", s.Err, reason)
			}
			return entries
		}
	}
	m.t.Errorf("%s is not skipped; skipped: %v; found: %v", name, skipped, idsOf(entries))
	return entries
}
