package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// directories are in systemd's order, the strongest first (systemd.unit(5)).
var directories = []string{"/etc/luod/hooks.d", "/run/luod/hooks.d", "/usr/local/lib/luod/hooks.d", "/usr/lib/luod/hooks.d"}

// fate is what becomes of a file.
type fate string

const (
	runs          fate = "run"
	masks         fate = "mask"
	hidden        fate = "hidden"
	notExecutable fate = "not-executable"
	notRegular    fate = "not-regular"
)

// hook is one file.
type hook struct {
	path string
	fate fate
	// by is the path of the file of the same name that hides this one.
	by string
}

func (h hook) name() string { return filepath.Base(h.path) }

// find returns the hooks in dirs in the order of their names, what hides before
// what it hides. An error names what can't be read; the hooks are what could be.
func find(dirs []string) ([]hook, error) {
	var hooks []hook
	var errs []error
	first := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("look for hooks: %w", err))
		}
		for _, entry := range entries {
			path := filepath.Join(dir, entry.Name())
			if leftover(entry.Name()) {
				continue
			}
			info, err := os.Stat(path)
			if err != nil {
				errs = append(errs, fmt.Errorf("look for hooks: %w", err))
				continue
			}
			if info.IsDir() {
				continue
			}
			h := hook{path: path, fate: fateOf(info)}
			if by, ok := first[entry.Name()]; ok {
				h.fate, h.by = hidden, by
			} else {
				first[entry.Name()] = path
			}
			hooks = append(hooks, h)
		}
	}
	slices.SortStableFunc(hooks, func(a, b hook) int { return strings.Compare(a.name(), b.name()) })
	return hooks, errors.Join(errs...)
}

// leftover says of a file name that an editor or a package manager left it, or
// that somebody wants it out of sight.
func leftover(name string) bool {
	ext := filepath.Ext(name)
	return strings.HasPrefix(name, ".") || strings.HasSuffix(name, "~") || ext == ".bak" ||
		strings.HasPrefix(ext, ".dpkg-") || strings.HasPrefix(ext, ".rpm")
}

// fateOf follows systemd in what masks (null_or_empty, src/basic/stat-util.c) and
// in that any executable bit will do (files_add, src/basic/conf-files.c).
func fateOf(info fs.FileInfo) fate {
	if stat, ok := info.Sys().(*unix.Stat_t); ok && stat.Rdev == unix.Mkdev(1, 3) && info.Mode()&fs.ModeCharDevice != 0 {
		return masks
	}
	switch {
	case !info.Mode().IsRegular():
		return notRegular
	case info.Size() == 0:
		return masks
	case info.Mode()&0o111 == 0:
		return notExecutable
	}
	return runs
}

// print writes what would become of each hook.
func print(w io.Writer, hooks []hook) {
	for _, h := range hooks {
		switch h.fate {
		case runs:
			fmt.Fprintln(w, "run   ", h.path)
		case masks:
			fmt.Fprintln(w, "mask  ", h.path)
		case hidden:
			fmt.Fprintln(w, "hidden", h.path, "by", h.by)
		default:
			fmt.Fprintln(w, "skip  ", h.path+":", h.why())
		}
	}
}

// why says for a warning why a file that lies among hooks is none.
func (h hook) why() string {
	switch h.fate {
	case notExecutable:
		return "it is not executable; make it so, or move it elsewhere"
	case notRegular:
		return "it is neither a regular file nor a link to one"
	}
	return ""
}
