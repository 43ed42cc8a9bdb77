package bootentry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// microcode are Arch's, which must come first.
var microcode = []string{"amd-ucode.img", "intel-ucode.img"}

// stale are the suffixes of what was replaced or is no kernel.
var stale = []string{".old", ".bak", ".rpmsave", ".rpmnew", ".hmac", ".tmp", ".sig", "~"}

// plain finds kernels in /boot that no other entry names, and then those in
// /usr/lib/modules whose version nothing else has.
func (s System) plain(others []Entry) ([]Entry, []Skipped) {
	var entries []Entry
	var skipped []Skipped
	boot, err := openPartition(s.path("boot"))
	if err == nil { // else partitions has said why
		defer boot.root.Close()
		entries, skipped = s.plainBoot(boot, others)
	}
	more, bad := s.plainModules(boot, append(slices.Clone(others), entries...))
	return append(entries, more...), append(skipped, bad...)
}

func (s System) plainBoot(boot partition, others []Entry) ([]Entry, []Skipped) {
	names, err := boot.names(".", "")
	if err != nil {
		return nil, []Skipped{{boot.dir, err}}
	}
	// One that two paths lead to is one.
	var known []os.FileInfo
	for _, o := range others {
		if info, err := os.Stat(o.Kernel); err == nil {
			known = append(known, info)
		}
	}
	var entries []Entry
	var skipped []Skipped
	for _, name := range names {
		version, ok := s.kernelVersion(name)
		if !ok {
			continue
		}
		e, info, err := boot.plainEntry(boot, name, version)
		if err != nil {
			skipped = append(skipped, Skipped{boot.path(name), err})
			continue
		}
		if !slices.ContainsFunc(known, func(o os.FileInfo) bool { return os.SameFile(o, info) }) {
			e.ID = name
			entries = append(entries, e)
		}
	}
	return entries, skipped
}

func (s System) plainModules(boot partition, others []Entry) ([]Entry, []Skipped) {
	modules, err := openPartition(s.path("usr/lib/modules"))
	if err != nil {
		return nil, nil
	}
	defer modules.root.Close()
	versions, err := modules.names(".", "")
	if err != nil {
		return nil, []Skipped{{modules.dir, err}}
	}
	var entries []Entry
	var skipped []Skipped
	for _, version := range versions {
		// Arch's kernels have the package's name in /boot, and there is an
		// initrd for that one alone.
		base, _ := modules.read(path.Join(version, "pkgbase"), maxFile)
		pkgbase := strings.TrimSpace(string(base))
		if slices.ContainsFunc(others, func(o Entry) bool {
			return o.Version == version || o.Release == version || pkgbase != "" && path.Base(o.Kernel) == "vmlinuz-"+pkgbase
		}) {
			continue
		}
		name := path.Join(version, "vmlinuz")
		e, _, err := modules.plainEntry(boot, name, version)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err != nil {
			skipped = append(skipped, Skipped{modules.path(name), err})
			continue
		}
		e.ID = "vmlinuz-" + version
		entries = append(entries, e)
	}
	return entries, skipped
}

// plainEntry makes an entry, without its ID, of an image in p.
func (p partition) plainEntry(boot partition, name, version string) (Entry, os.FileInfo, error) {
	if err := validName(version); err != nil {
		return Entry{}, nil, err
	}
	f, err := p.find(name)
	if err != nil {
		return Entry{}, nil, fmt.Errorf("find a kernel: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Entry{}, nil, fmt.Errorf("find a kernel: %w", err)
	}
	e := Entry{
		Kind: Plain, Title: "Linux " + version, Version: version, TriesLeft: -1, TriesDone: -1,
		Source: p.path(name), Kernel: p.path(name),
	}
	if e.Initrds, err = boot.initrds(version); err != nil {
		return Entry{}, nil, fmt.Errorf("find the initrd of %s: %w", p.path(name), err)
	}
	return e, info, nil
}

// kernelVersion takes the version off an image's name: vmlinuz-VERSION, or
// Image-VERSION as the kernel's own make install has it for arm64.
func (s System) kernelVersion(name string) (string, bool) {
	if strings.Contains(name, ".dpkg-") || slices.ContainsFunc(stale, func(suffix string) bool { return strings.HasSuffix(name, suffix) }) {
		return "", false
	}
	version, ok := strings.CutPrefix(name, "vmlinuz-")
	if !ok && s.Architecture == "arm64" {
		version, ok = strings.CutPrefix(name, "Image-")
	}
	return version, ok && version != ""
}

// initrds finds what belongs to a version: Debian's name, Fedora's and Arch's, or
// SUSE's. One that is there and can't be used is an error: without it the kernel
// would find no root.
func (p partition) initrds(version string) ([]string, error) {
	if p.root == nil {
		return nil, nil
	}
	for _, name := range []string{"initrd.img-" + version, "initramfs-" + version + ".img", "initramfs-" + version, "initrd-" + version} {
		err := p.check(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var list []string
		for _, m := range microcode {
			err := p.check(m)
			if err == nil {
				list = append(list, p.path(m))
			} else if !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
		}
		return append(list, p.path(name)), nil
	}
	return nil, nil
}
