package uki

import (
	"errors"
	"io"
	"strings"

	"github.com/liveupdate/luod/kexec/pe"
)

// UKI is a unified kernel image.
type UKI struct {
	Machine uint16
	// Profiles has the base as its first; each other takes from the base what
	// it lacks.
	Profiles []Profile
}

// Profile is what one profile boots.
type Profile struct {
	// ID and Title are from the .profile section, empty for a base without.
	ID, Title string
	Linux     pe.Section
	// Initrds are .ucode, which must come first, and .initrd, as far as there
	// are.
	Initrds []pe.Section
	// CommandLine is .cmdline, Release .uname, OSRelease the text of .osrel.
	CommandLine, Release, OSRelease string
}

// MaxText bounds, in bytes, each of the sections that hold text.
const MaxText = 64 << 10

// ErrNone says that the file is no unified kernel image.
var ErrNone = errors.New("it is no unified kernel image: it has no .linux section")

// Read reads the image of size bytes in r.
func Read(r io.ReaderAt, size int64) (*UKI, error) {
	file, err := pe.Read(r, size)
	if errors.Is(err, pe.ErrNone) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	groups := [][]pe.Section{nil}
	for _, s := range file.Sections {
		if s.Name == ".profile" {
			groups = append(groups, nil)
		}
		groups[len(groups)-1] = append(groups[len(groups)-1], s)
	}
	// Before the first .profile is what all have in common; it is a profile of
	// its own only where no other follows.
	base := groups[0]
	if len(groups) > 1 {
		groups = groups[1:]
	}
	u := &UKI{Machine: file.Machine}
	for _, own := range groups {
		p, err := profile(r, base, own)
		if err != nil {
			return nil, err
		}
		u.Profiles = append(u.Profiles, p)
	}
	return u, nil
}

func profile(r io.ReaderAt, base, own []pe.Section) (Profile, error) {
	find := func(name string) (pe.Section, bool) {
		for _, from := range [][]pe.Section{own, base} {
			for _, s := range from {
				if s.Name == name {
					return s, true
				}
			}
		}
		return pe.Section{}, false
	}
	var p Profile
	var is bool
	if p.Linux, is = find(".linux"); !is || p.Linux.Size == 0 {
		return p, ErrNone
	}
	for _, name := range []string{".ucode", ".initrd"} {
		if s, is := find(name); is && s.Size > 0 {
			p.Initrds = append(p.Initrds, s)
		}
	}
	var about string
	for name, to := range map[string]*string{".cmdline": &p.CommandLine, ".uname": &p.Release, ".osrel": &p.OSRelease, ".profile": &about} {
		s, is := find(name)
		if !is || s.Size == 0 {
			continue
		}
		text, err := s.Text(r, MaxText)
		if err != nil {
			return p, err
		}
		*to = strings.TrimSpace(text)
	}
	// As systemd-stub does (mangle_stub_cmdline in src/boot/util.c).
	p.CommandLine = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, p.CommandLine))
	for line := range strings.Lines(about) {
		switch name, value, _ := strings.Cut(strings.TrimSpace(line), "="); name {
		case "ID":
			p.ID = strings.Trim(value, `"'`)
		case "TITLE":
			p.Title = strings.Trim(value, `"'`)
		}
	}
	return p, nil
}
