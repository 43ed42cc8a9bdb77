package treearchive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
)

// found is a file of a tree, open with O_PATH: whatever its owner puts in its place,
// what is said of it and read from it is of this one.
type found struct {
	f    *os.File
	info fs.FileInfo
	// path is for people, relative is below the tree's directory.
	path, relative string
}

func (f found) stat() *syscall.Stat_t {
	st, _ := f.info.Sys().(*syscall.Stat_t)
	return st
}

// walker visits the files of a tree, a directory before what is in it, in the order of
// their names.
type walker struct {
	visit func(found) error
	// changes says that files may go away meanwhile.
	changes bool
}

// walk begins at the directory dir. Sockets are left out.
func (w walker) walk(dir string) error {
	place, err := beneath.Open("/", dir)
	if errors.Is(err, unix.ENOTDIR) {
		return fmt.Errorf("%w: %w", err, ErrNotRestorable)
	}
	if err != nil {
		return err
	}
	defer place.Close()
	return w.look(place.Dir, dir, ".")
}

func (w walker) look(f *os.File, path, relative string) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil
	}
	if what := unrestorable(info.Mode()); what != "" {
		return fmt.Errorf("%s is %s: %w", path, what, ErrNotRestorable)
	}
	// Who puts it back opens it by this.
	if len(relative) >= unix.PathMax {
		return fmt.Errorf("%s has a path longer than %d bytes: %w", path, unix.PathMax-1, ErrNotRestorable)
	}
	if err := w.visit(found{f, info, path, relative}); err != nil {
		return err
	}
	if !info.IsDir() {
		return nil
	}
	names, err := list(f)
	if w.changes && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list the directory %s: %w", path, err)
	}
	for _, name := range names {
		if err := w.enter(f, name, filepath.Join(path, name), filepath.Join(relative, name)); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) enter(dir *os.File, name, path, relative string) error {
	f, err := beneath.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	switch {
	case w.changes && errors.Is(err, fs.ErrNotExist):
		return nil // its owner works with it
	case errors.Is(err, unix.EXDEV):
		return fmt.Errorf("%s is a mount point: %w", path, ErrNotRestorable)
	case err != nil:
		return err
	}
	defer f.Close()
	return w.look(f, path, relative)
}

// list returns the names in a directory that is open with O_PATH.
func list(dir *os.File) ([]string, error) {
	f, err := beneath.OpenIn(dir, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	slices.Sort(names)
	return names, err
}

// unrestorable says what a file is that create makes no other of; a whiteout of an
// overlay file system is a character device, too.
func unrestorable(mode fs.FileMode) string {
	switch mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe:
		return ""
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "a device node"
	}
	return fmt.Sprintf("of a kind that is not known (%s)", mode)
}
