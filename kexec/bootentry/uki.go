package bootentry

import (
	"cmp"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/kexec/pe"
	"github.com/liveupdate/luod/kexec/uki"
)

const (
	typeTwoDir    = "EFI/Linux"
	typeTwoSuffix = ".efi"
	addonSuffix   = ".addon.efi"
)

// machines are the COFF header's for GOARCH's.
var machines = []struct {
	coff   uint16
	goarch string
}{
	{0x8664, "amd64"}, {0xaa64, "arm64"}, {0x14c, "386"}, {0x1c2, "arm"}, {0x5064, "riscv64"}, {0x6264, "loong64"},
}

func (s System) checkMachine(coff uint16) error {
	for _, m := range machines {
		if m.coff == coff && m.goarch == s.Architecture {
			return nil
		}
	}
	return fmt.Errorf("it is for the machine type %#x, and this machine is %s", coff, s.Architecture)
}

func (s System) type2(p partition) ([]Entry, []Skipped) {
	files, err := p.names(typeTwoDir, typeTwoSuffix)
	if err != nil {
		return nil, []Skipped{{p.path(typeTwoDir), err}}
	}
	var entries []Entry
	var skipped []Skipped
	for _, file := range files {
		name := path.Join(typeTwoDir, file)
		found, bad, err := s.oneType2(p, name)
		if err == nil && len(entries)+len(found) > maxEntries {
			err = fmt.Errorf("list its profiles: %s has over %d entries already", p.path(typeTwoDir), maxEntries)
		}
		skipped = append(skipped, bad...)
		if err != nil {
			skipped = append(skipped, Skipped{p.path(name), err})
			continue
		}
		entries = append(entries, found...)
	}
	return entries, skipped
}

func (s System) oneType2(p partition, name string) ([]Entry, []Skipped, error) {
	id, left, done := uncount(path.Base(name))
	if err := validName(id); err != nil {
		return nil, nil, err
	}
	u, err := s.readUKI(p, name)
	if err != nil {
		return nil, nil, err
	}
	list, skipped := s.addons(p, name)
	var entries []Entry
	for _, e := range unified(u, id) {
		e.Architecture, e.Source, e.Kernel = s.Architecture, p.path(name), p.path(name)
		e.TriesLeft, e.TriesDone = left, done
		skipped = append(skipped, e.addAddons(list)...)
		if err := e.checkCommandLine(); err != nil {
			skipped = append(skipped, Skipped{p.path(name), fmt.Errorf("use %s: %w", e.ID, err)})
			continue
		}
		entries = append(entries, e)
	}
	return entries, skipped, nil
}

func (s System) readUKI(p partition, name string) (*uki.UKI, error) {
	f, err := p.open(name)
	if err != nil {
		return nil, fmt.Errorf("read the unified kernel image: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read the unified kernel image: %w", err)
	}
	u, err := uki.Read(f, info.Size())
	if err == nil {
		err = s.checkMachine(u.Machine)
	}
	if err != nil {
		return nil, fmt.Errorf("read the unified kernel image %s: %w", f.Name(), err)
	}
	return u, nil
}

// unified makes an entry of each profile. As boot_entry_load_unified of
// bootspec.c does, it adds the profile to the ID unless it is the first and has
// no ID itself.
func unified(u *uki.UKI, id string) []Entry {
	var entries []Entry
	for i, profile := range u.Profiles {
		e := describe(profile, i)
		e.Kind, e.ID, e.Profile = Type2, id, i
		e.Title = cmp.Or(e.Title, id)
		if profile.ID != "" && validName(profile.ID) == nil && !strings.ContainsAny(profile.ID, "/@") {
			e.ID = id + "@" + profile.ID
		} else if i > 0 {
			e.ID = id + "@" + strconv.Itoa(i)
		}
		if slices.ContainsFunc(entries, func(o Entry) bool { return o.ID == e.ID }) {
			e.ID = id + "@" + strconv.Itoa(i)
		}
		entries = append(entries, e)
	}
	return entries
}

// describe takes title, version and sort key from .osrel, as
// bootspec_pick_name_version_sort_key of src/fundamental/bootspec.c does. It asks
// for none of them, since UAPI.5 has only .linux as a must.
func describe(p uki.Profile, number int) Entry {
	os := parseOSRelease(p.OSRelease)
	e := Entry{
		Title:       lookUpFirst(os, "PRETTY_NAME", "IMAGE_ID", "NAME", "ID"),
		Version:     cmp.Or(lookUpFirst(os, "IMAGE_VERSION", "VERSION", "VERSION_ID", "BUILD_ID"), printable(p.Release)),
		SortKey:     lookUpFirst(os, "IMAGE_ID", "ID"),
		Release:     printable(p.Release),
		CommandLine: p.CommandLine,
	}
	which := cmp.Or(printable(p.Title), printable(p.ID))
	if which == "" && number > 0 {
		which = "@" + strconv.Itoa(number)
	}
	if which != "" && e.Title != "" {
		e.Title += " (" + which + ")"
	}
	return e
}

// variable is one of os-release(5).
type variable struct{ name, value string }

// parseOSRelease reads NAME=VALUE lines whose values are quoted as in a shell
// (os-release(5)).
func parseOSRelease(text string) []variable {
	var list []variable
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			list = append(list, variable{name, printable(unquote(value))})
		}
	}
	return list
}

func unquote(value string) string {
	if len(value) < 2 || value[0] != value[len(value)-1] || value[0] != '"' && value[0] != '\'' {
		return value
	}
	quote := value[0]
	value = value[1 : len(value)-1]
	if quote == '\'' {
		return value
	}
	var out strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '\\' && i+1 < len(value) && strings.IndexByte("\"\\$`", value[i+1]) >= 0 {
			i++
		}
		out.WriteByte(value[i])
	}
	return out.String()
}

func lookUp(list []variable, name string) string {
	value := ""
	for _, v := range list {
		if v.name == name {
			value = v.value
		}
	}
	return strings.Trim(value, blanks)
}

func lookUpFirst(list []variable, names ...string) string {
	for _, n := range names {
		if value := lookUp(list, n); value != "" {
			return value
		}
	}
	return ""
}

// addon is a PE addon (UAPI.5).
type addon struct {
	path, commandLine, release string
	// local says that it is for one image.
	local bool
}

// addons returns those of all the partition's images and then those of one, as
// systemd-stub(7) applies them: global ones first, and an image's own from its
// directory, whose name has no boot counter.
func (s System) addons(p partition, image string) ([]addon, []Skipped) {
	name, _, _ := uncount(path.Base(image))
	local, skipped := s.addonsIn(p, path.Join(path.Dir(image), name+".extra.d"))
	for i := range local {
		local[i].local = true
	}
	return slices.Concat(p.addons, local), skipped
}

func (s System) addonsIn(p partition, dir string) ([]addon, []Skipped) {
	files, err := p.names(dir, addonSuffix)
	if err != nil {
		return nil, []Skipped{{p.path(dir), err}}
	}
	var list []addon
	var skipped []Skipped
	for _, file := range files {
		name := path.Join(dir, file)
		a, err := s.addon(p, name)
		if err != nil {
			skipped = append(skipped, Skipped{p.path(name), fmt.Errorf("read the addon: %w", err)})
			continue
		}
		list = append(list, a)
	}
	return list, skipped
}

func (s System) addon(p partition, name string) (addon, error) {
	f, err := p.open(name)
	if err != nil {
		return addon{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return addon{}, err
	}
	a, err := s.parseAddon(f, info.Size())
	a.path = p.path(name)
	return a, err
}

func (s System) parseAddon(r io.ReaderAt, size int64) (addon, error) {
	var a addon
	image, err := pe.Read(r, size)
	if err != nil {
		return a, err
	}
	if err := s.checkMachine(image.Machine); err != nil {
		return a, err
	}
	for _, section := range image.Sections {
		var text *string
		switch section.Name {
		case ".cmdline":
			text = &a.commandLine
		case ".uname":
			text = &a.release
		case ".linux":
			return a, fmt.Errorf("it is no addon: it has a kernel (%s)", section.Name)
		case ".initrd", ".ucode":
			return a, fmt.Errorf("it brings more than a command line (%s), which is not supported", section.Name)
		}
		if text == nil {
			continue
		}
		if *text, err = section.Text(r, uki.MaxText); err != nil {
			return a, err
		}
	}
	// As systemd-stub does with every command line (mangle_stub_cmdline in
	// src/boot/util.c).
	a.commandLine = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, a.commandLine))
	a.release = strings.TrimSpace(a.release)
	return a, nil
}

// addAddons appends the command lines. One for another kernel's release doesn't
// apply, as with systemd-stub; that is told of where it lies with this kernel.
func (e *Entry) addAddons(list []addon) []Skipped {
	var skipped []Skipped
	for _, a := range list {
		if a.release != "" && e.Release != "" && printable(a.release) != e.Release {
			if a.local {
				skipped = append(skipped, Skipped{a.path, fmt.Errorf("use the addon for %s: it is for the kernel %s", e.ID, printable(a.release))})
			}
			continue
		}
		e.Addons = append(e.Addons, a.path)
		e.CommandLine = strings.TrimSpace(e.CommandLine + " " + a.commandLine)
		if len(e.CommandLine) > maxCommandLine {
			break // and checkCommandLine refuses it
		}
	}
	return skipped
}
