package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// keptImages is how many images of a kind stay in the cache. Each change to luod makes new ones.
const keptImages = 4

// collect removes a kind's images that were not used for longest, and that no machine has.
func collect(kind string) error {
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(cache, "image", kind+"-*"))
	if err != nil {
		return err
	}
	used := map[string]int64{}
	for _, dir := range dirs {
		if info, err := os.Stat(dir); err == nil {
			used[dir] = info.ModTime().UnixNano()
		}
	}
	slices.SortFunc(dirs, func(a, b string) int { // newest first
		if used[a] != used[b] {
			return int(max(-1, min(1, used[b]-used[a])))
		}
		return strings.Compare(a, b)
	})
	for _, dir := range dirs[min(len(dirs), keptImages):] {
		if err := removeUnused(dir); err != nil {
			return fmt.Errorf("remove an old image: %w", err)
		}
	}
	return nil
}

func removeUnused(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "root.img"), os.O_RDWR, 0)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return os.RemoveAll(dir)
		}
		return err
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil // a machine runs from it
	}
	return os.RemoveAll(dir)
}

// Hold opens the image and keeps it from being removed until the file is closed.
func (i Image) Hold() (*os.File, error) {
	f, err := os.Open(i.Path)
	if err != nil {
		return nil, fmt.Errorf("open the image: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
		f.Close()
		return nil, fmt.Errorf("hold the image: %w", err)
	}
	return f, nil
}
