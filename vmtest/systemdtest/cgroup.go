package systemdtest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// unified finds the tree of cgroup version 2, which is the whole or beside version 1.
func unified() (string, error) {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("find a tree of cgroup version 2: neither /sys/fs/cgroup nor its unified is one")
}

// makeCgroup makes a cgroup, and removes those of tests that were killed.
//
// Killed afterwards: it stays, empty, for the next one to remove.
func makeCgroup() (string, error) {
	top, err := unified()
	if err != nil {
		return "", err
	}
	sweep(top, func(dir string) error { return removeCgroup(dir, 0) })
	dir, err := os.MkdirTemp(top, ownPattern())
	if err != nil {
		return "", fmt.Errorf("make a cgroup: %w", err)
	}
	return dir, nil
}

// removeCgroup removes a cgroup with those in it, as soon as the last process has left, which may take a moment after
// it was killed.
func removeCgroup(dir string, patience time.Duration) error {
	deadline := time.Now().Add(patience)
	for {
		err := removeTree(dir)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func removeTree(dir string) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil // it may go meanwhile
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(dirs) {
		if err := unix.Rmdir(d); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the cgroup %s: %w", d, err)
		}
	}
	return nil
}
