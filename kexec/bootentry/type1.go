package bootentry

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/kexec/grubenv"
)

const (
	typeOneDir    = "loader/entries"
	typeOneSuffix = ".conf"
)

// What an entry may have. No kernel takes a command line of that length.
const (
	maxFile        = 64 << 10
	maxLine        = 16 << 10
	maxInitrds     = 64
	maxCommandLine = 64 << 10
)

// snippet is a type 1 entry as it is written.
type snippet struct {
	title, version, machineID, sortKey, architecture string
	linux, uki, profile, deviceTree                  string
	initrds, options                                 []string
	// program names a key that leads to no kernel.
	program string
}

// architectures are the EFI names that UAPI.1 has for GOARCH's.
var architectures = []struct{ efi, goarch string }{
	{"x64", "amd64"}, {"ia32", "386"}, {"aa64", "arm64"}, {"arm", "arm"}, {"riscv64", "riscv64"}, {"loongarch64", "loong64"},
}

// keyValue splits a line, which may have a carriage return. A comment and a line
// without value have neither.
func keyValue(line string) (key, value string) {
	line = strings.Trim(line, blanks+"\r\n")
	if strings.HasPrefix(line, "#") {
		return "", ""
	}
	i := strings.IndexAny(line, blanks)
	if i < 0 {
		return "", ""
	}
	return line[:i], strings.TrimLeft(line[i:], blanks)
}

// parseType1 reads an entry. Unknown keys are ignored, as UAPI.1 asks.
func parseType1(data []byte) (snippet, error) {
	var s snippet
	if bytes.IndexByte(data, 0) >= 0 {
		return s, errors.New("it has a NUL byte")
	}
	for line := range strings.Lines(string(data)) {
		if len(line) > maxLine {
			return s, fmt.Errorf("it has a line of over %d bytes", maxLine)
		}
		key, value := keyValue(line)
		switch key {
		case "title":
			s.title = printable(value)
		case "version":
			s.version = printable(value)
		case "machine-id":
			s.machineID = printable(value)
		case "sort-key":
			s.sortKey = printable(value)
		case "architecture":
			s.architecture = strings.ToLower(printable(value))
		case "linux":
			s.linux = value
		case "uki":
			s.uki = value
		case "profile":
			s.profile = value
		case "initrd":
			// GRUB's entries name several in one line.
			s.initrds = append(s.initrds, value)
		case "options":
			s.options = append(s.options, value)
		case "devicetree", "devicetree-overlay":
			s.deviceTree = key
		case "efi", "uki-url":
			s.program = key
		}
	}
	return s, nil
}

func (s System) type1(p partition) ([]Entry, []Skipped) {
	files, err := p.names(typeOneDir, typeOneSuffix)
	if err != nil {
		return nil, []Skipped{{p.path(typeOneDir), err}}
	}
	var entries []Entry
	var skipped []Skipped
	var env []grubenv.Variable
	if len(files) > 0 {
		env = s.grubEnv()
	}
	for _, file := range files {
		name := path.Join(typeOneDir, file)
		e, bad, err := s.oneType1(p, name, env)
		skipped = append(skipped, bad...)
		if err != nil {
			skipped = append(skipped, Skipped{p.path(name), err})
			continue
		}
		entries = append(entries, e)
	}
	return entries, skipped
}

func (s System) oneType1(p partition, name string, env []grubenv.Variable) (Entry, []Skipped, error) {
	data, err := p.read(name, maxFile)
	if err != nil {
		return Entry{}, nil, fmt.Errorf("read the boot entry: %w", err)
	}
	snippet, err := parseType1(data)
	if err != nil {
		return Entry{}, nil, fmt.Errorf("read the boot entry: %w", err)
	}
	e := Entry{
		Kind: Type1, Title: snippet.title, Version: snippet.version, SortKey: snippet.sortKey,
		MachineID: snippet.machineID, Source: p.path(name), CommandLine: grubenv.Expand(strings.Join(snippet.options, " "), env),
	}
	e.ID, e.TriesLeft, e.TriesDone = uncount(path.Base(name))
	if err := validName(e.ID); err != nil {
		return Entry{}, nil, err
	}
	if e.Architecture, err = s.architecture(snippet); err != nil {
		return Entry{}, nil, err
	}
	var skipped []Skipped
	switch {
	case snippet.linux != "":
		kernel, err := p.locate(snippet.linux)
		if err != nil {
			return Entry{}, nil, fmt.Errorf("find its kernel: %w", err)
		}
		e.Kernel = p.path(kernel)
	case snippet.uki != "":
		if skipped, err = s.fromUKI(&e, p, snippet); err != nil {
			return Entry{}, skipped, err
		}
	case snippet.program != "":
		return Entry{}, nil, fmt.Errorf("it is an EFI program (%s), which kexec can't boot", snippet.program)
	default:
		return Entry{}, nil, errors.New("it names no kernel (linux)")
	}
	initrds := strings.Fields(grubenv.Expand(strings.Join(snippet.initrds, " "), env))
	if len(initrds) > maxInitrds {
		return Entry{}, skipped, fmt.Errorf("it names %d initrds, and over %d are not sane", len(initrds), maxInitrds)
	}
	for _, initrd := range initrds {
		found, err := p.locate(initrd)
		if err != nil {
			return Entry{}, skipped, fmt.Errorf("find its initrd: %w", err)
		}
		e.Initrds = append(e.Initrds, p.path(found))
	}
	return e, skipped, e.checkCommandLine()
}

// architecture refuses what isn't for this machine. A device tree is one of its
// own only where the kernel gets one at all: kexec_file_load(2) takes none, and
// the next kernel has that of the running one.
func (s System) architecture(entry snippet) (string, error) {
	if entry.deviceTree != "" && s.Architecture != "amd64" && s.Architecture != "386" {
		return "", fmt.Errorf("it brings a device tree (%s), which kexec can't hand over", entry.deviceTree)
	}
	if entry.architecture == "" {
		return "", nil
	}
	for _, a := range architectures {
		if a.efi == entry.architecture && a.goarch == s.Architecture {
			return a.goarch, nil
		}
	}
	return "", fmt.Errorf("it is for the architecture %s, and this machine is %s", entry.architecture, s.Architecture)
}

// fromUKI makes e into what a unified kernel image boots, or a profile of it.
// Options of e's own replace the image's command line, as systemd-stub(7) does
// without Secure Boot.
func (s System) fromUKI(e *Entry, p partition, entry snippet) ([]Skipped, error) {
	name, err := p.locate(entry.uki)
	if err != nil {
		return nil, fmt.Errorf("find its unified kernel image: %w", err)
	}
	u, err := s.readUKI(p, name)
	if err != nil {
		return nil, err
	}
	n := 0
	if entry.profile != "" {
		if n, err = strconv.Atoi(entry.profile); err != nil || n < 0 || n >= len(u.Profiles) {
			return nil, fmt.Errorf("use %s: it has %d profiles, and none of number %q", p.path(name), len(u.Profiles), entry.profile)
		}
	}
	own := describe(u.Profiles[n], n)
	e.Kernel, e.Profile, e.Release, e.Architecture = p.path(name), n, own.Release, s.Architecture
	for _, field := range []struct {
		to   *string
		from string
	}{{&e.Title, own.Title}, {&e.Version, own.Version}, {&e.SortKey, own.SortKey}, {&e.CommandLine, own.CommandLine}} {
		if *field.to == "" {
			*field.to = field.from
		}
	}
	list, skipped := s.addons(p, name)
	return append(skipped, e.addAddons(list)...), nil
}

func (e Entry) checkCommandLine() error {
	if len(e.CommandLine) > maxCommandLine {
		return fmt.Errorf("its command line has %d bytes, and over %d are not sane", len(e.CommandLine), maxCommandLine)
	}
	return nil
}

// blanks are what separates words in an entry.
const blanks = " \t"
