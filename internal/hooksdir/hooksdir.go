package hooksdir

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Directories are in systemd's order, the strongest first (systemd.unit(5)).
var Directories = []string{"/etc/luod/hooks.d", "/run/luod/hooks.d", "/usr/local/lib/luod/hooks.d", "/usr/lib/luod/hooks.d"}

// Fate is what becomes of a file.
type Fate string

const (
	Runs          Fate = "run"
	Masks         Fate = "mask"
	Hidden        Fate = "hidden"
	NotExecutable Fate = "not-executable"
	NotRegular    Fate = "not-regular"
)

// Hook is one file.
type Hook struct {
	Path string
	Fate Fate
	// By is the path of the file of the same name that hides this one.
	By string
}

// Name is the file's.
func (h Hook) Name() string { return filepath.Base(h.Path) }

// Find returns the hooks in dirs in the order of their names, what hides before
// what it hides. An error names what can't be read; the hooks are what could be.
func Find(dirs []string) ([]Hook, error) {
	var hooks []Hook
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
			h := Hook{Path: path, Fate: fateOf(info)}
			if by, ok := first[entry.Name()]; ok {
				h.Fate, h.By = Hidden, by
			} else {
				first[entry.Name()] = path
			}
			hooks = append(hooks, h)
		}
	}
	slices.SortStableFunc(hooks, func(a, b Hook) int { return strings.Compare(a.Name(), b.Name()) })
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
func fateOf(info fs.FileInfo) Fate {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && uint64(stat.Rdev) == unix.Mkdev(1, 3) && info.Mode()&fs.ModeCharDevice != 0 {
		return Masks
	}
	switch {
	case !info.Mode().IsRegular():
		return NotRegular
	case info.Size() == 0:
		return Masks
	case info.Mode()&0o111 == 0:
		return NotExecutable
	}
	return Runs
}

// Print writes what would become of each hook.
func Print(w io.Writer, hooks []Hook) {
	for _, h := range hooks {
		switch h.Fate {
		case Runs:
			fmt.Fprintln(w, "run   ", h.Path)
		case Masks:
			fmt.Fprintln(w, "mask  ", h.Path)
		case Hidden:
			fmt.Fprintln(w, "hidden", h.Path, "by", h.By)
		default:
			fmt.Fprintln(w, "skip  ", h.Path+":", h.Why())
		}
	}
}

// Why says for a warning why a file that lies among hooks is none.
func (h Hook) Why() string {
	switch h.Fate {
	case NotExecutable:
		return "it is not executable; make it so, or move it elsewhere"
	case NotRegular:
		return "it is neither a regular file nor a link to one"
	}
	return ""
}

// Any says whether there may be anything to run.
func Any() bool {
	hooks, err := Find(Directories)
	return err != nil || slices.ContainsFunc(hooks, func(h Hook) bool { return h.Fate == Runs })
}
