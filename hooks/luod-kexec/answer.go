package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/bootentry"
	"github.com/liveupdate/luod/kexec/preflight"
	"github.com/liveupdate/luod/kexec/source"
	"github.com/liveupdate/luod/kexec/uki"
	"github.com/liveupdate/luod/kexec/verdict"
)

// machine is where answers come from.
type machine struct {
	entries     bootentry.System
	system      preflight.System
	commandLine string
	// early says that the next boot shall begin with the services that kept their
	// memory.
	early bool
	load  func(*source.Source) error
	// loaded says whether a kernel is loaded, and left how many more times one may be;
	// countFrom is left that makes the kernel count.
	loaded    func() (bool, error)
	left      func() (int, error)
	countFrom func() (int, error)
}

func thisMachine() machine {
	var u unix.Utsname
	_ = unix.Uname(&u) // fails for no valid pointer
	line, _ := os.ReadFile("/proc/cmdline")
	return machine{
		system:      preflight.System{Arch: runtime.GOARCH, Release: unix.ByteSliceToString(u.Release[:]), Successor: preflight.Service{Unit: "luod.service", Program: "/usr/lib/luod/luod"}},
		commandLine: strings.TrimSpace(string(line)),
		early:       earlyUnits("/etc/systemd/system/luod-restore.target.wants"),
		load:        (*source.Source).Load,
		loaded:      kexec.Loaded,
		left:        kexec.LoadsLeft,
		countFrom:   kexec.CountLoads,
	}
}

// earlyUnits says whether there are units to be started before all others.
func earlyUnits(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// found is what a search for boot entries finds.
type found struct {
	entries []bootentry.Entry
	skipped []bootentry.Skipped
}

func refuse(kind loading.Kind, format string, args ...any) loading.Answer {
	return loading.Answer{Kind: kind, Error: fmt.Errorf(format, args...).Error()}
}

func answer(m machine, r loading.Request) loading.Answer {
	if err := verdict.ValidNames(r.Override); err != nil {
		return refuse(loading.BadRequest, "override a check: %w", err)
	}
	// What was found before needs no search, unless the running kernel is sought too.
	find := sync.OnceValues(func() (found, error) {
		entries, skipped, err := m.entries.Find()
		return found{entries, skipped}, err
	})
	if r.Verb == loading.Entries {
		f, err := find()
		if err != nil {
			return refuse(loading.NoEntry, "look for boot entries: %w", err)
		}
		return list(f.entries, f.skipped)
	}
	if r.Verb != loading.Check && r.Verb != loading.Load {
		return refuse(loading.BadRequest, "there is no verb %q", r.Verb)
	}
	options := preflight.Options{}
	var target kexec.Target
	kept := false
	if r.Again != nil {
		target, options.Digest, options.Known = r.Again.Target, r.Again.Digest, r.Again.Known
		if kept = m.still(r.Again.Proof); kept {
			options.Stamp = r.Again.Proof.Stamp
		}
	} else {
		f, err := find()
		if target, err = m.target(r, f.entries, err); err != nil {
			return refuse(loading.NoEntry, "%w", err)
		}
	}
	// The running kernel may lie in a boot entry of another name.
	m.system.RunningImages = func() []string {
		f, _ := find()
		var images []string
		for _, e := range f.entries {
			if e.Version == m.system.Release || e.Release == m.system.Release {
				images = append(images, e.Kernel)
			}
		}
		return images
	}
	report, sources := preflight.Run(m.system, target, options)
	if sources != nil {
		defer sources.Close()
	}
	a := loading.Answer{Report: &report}
	if failed := report.Refused(r.Override); len(failed) > 0 {
		a.Kind, a.Error = loading.CheckFailed, loading.Explain(target, failed)
		return a
	}
	if r.Verb == loading.Check {
		return a
	}
	if sources == nil {
		// Only where the check that says so was overridden.
		a.Kind, a.Error = loading.LoadFailed, fmt.Sprintf("%s can't be read", target.Kernel)
		return a
	}
	if kept && report.Digest == r.Again.Digest {
		a.Kept, a.Proof = true, r.Again.Proof
		return a
	}
	stamp, stampError := sources.Stamp()
	before, countError := m.countFrom()
	if err := m.load(sources); err != nil {
		a.Kind, a.Error = loading.LoadFailed, err.Error()
		return a
	}
	// More than one load between: what is loaded is somebody else's, or may be.
	if left, err := m.left(); err == nil && countError == nil && stampError == nil && left == before-1 {
		a.Proof = &loading.Proof{Left: left, Stamp: stamp}
	}
	// What was hashed before may have been written to before the kernel read it.
	if digest, err := sources.Digest(); err != nil || digest != report.Digest {
		a.Kind, a.Error = loading.LoadFailed, fmt.Sprintf("%s or its initrd was written to while it was loaded; what is loaded now is neither the old one nor the new: load it again", target.Kernel)
		a.Proof = nil
		if err := kexec.Unload(); err != nil {
			a.Error += "; " + err.Error()
		}
	}
	return a
}

// still says whether what is loaded is what p was made for: a kernel is loaded, and
// nobody has called kexec_load(2) or kexec_file_load(2) since.
func (m machine) still(p *loading.Proof) bool {
	if p == nil {
		return false
	}
	left, err := m.left()
	if err != nil || left != p.Left {
		return false
	}
	loaded, err := m.loaded()
	return err == nil && loaded
}

func list(entries []bootentry.Entry, skipped []bootentry.Skipped) loading.Answer {
	a := loading.Answer{Entries: []loading.Entry{}}
	for _, e := range entries {
		a.Entries = append(a.Entries, loading.Entry{
			ID: e.ID, Kind: string(e.Kind), Title: e.Title, Version: e.Version, Source: e.Source,
			Kernel: e.Kernel, Initrds: e.Initrds, CommandLine: e.CommandLine, Default: e.Default,
		})
	}
	for _, s := range skipped {
		a.Entries = append(a.Entries, loading.Entry{Source: s.Source, Error: s.Err.Error()})
	}
	return a
}

// target makes of a request what is to be booted. The command line is the given
// one, or the entry's, or the running one, with what must survive and what a live
// update needs.
func (m machine) target(r loading.Request, entries []bootentry.Entry, findError error) (kexec.Target, error) {
	var t kexec.Target
	line := r.CommandLine
	if strings.Contains(r.Entry, "/") {
		path, err := filepath.Abs(r.Entry)
		if err != nil {
			return t, fmt.Errorf("find %s: %w", r.Entry, err)
		}
		t.Kernel = path
		if line == "" {
			line = ownCommandLine(path)
		}
	} else {
		if findError != nil {
			return t, fmt.Errorf("look for boot entries: %w", findError)
		}
		entry, err := bootentry.Select(entries, r.Entry)
		if err != nil {
			return t, err
		}
		t.Kernel, t.Profile, t.Initrds = entry.Kernel, entry.Profile, entry.Initrds
		if line == "" {
			line = entry.CommandLine
		}
	}
	if len(r.Initrds) > 0 {
		t.Initrds = r.Initrds
	}
	running := kexec.ParseCommandLine(m.commandLine)
	next := kexec.ParseCommandLine(line)
	if len(next) == 0 {
		next = running
	}
	next = next.Inherit(running).Clean(loading.Words).EnableLiveUpdate().WithNumber(loading.Words.Number, r.Generation)
	if m.early {
		next = next.StartWith(loading.Words.Target)
	}
	t.CommandLine = next.String()
	return t, nil
}

// ownCommandLine is that of a unified kernel image, or "".
func ownCommandLine(path string) string {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	if u, err := uki.Read(f, info.Size()); err == nil {
		return u.Profiles[0].CommandLine
	}
	return ""
}
