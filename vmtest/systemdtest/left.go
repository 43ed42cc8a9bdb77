package systemdtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ownPrefix begins the names of what a test makes and, if it is killed, leaves behind; its process follows.
const ownPrefix = "luod-systemdtest-"

func ownPattern() string { return fmt.Sprintf("%s%d-*", ownPrefix, os.Getpid()) }

// sweep removes from dir what tests that were killed have left. Another test may be at it as well: what can't be removed
// stays.
func sweep(dir string, remove func(path string) error) {
	left, err := filepath.Glob(filepath.Join(dir, ownPrefix+"*"))
	if err != nil {
		return
	}
	for _, path := range left {
		var pid int
		if n, _ := fmt.Sscanf(strings.TrimPrefix(filepath.Base(path), ownPrefix), "%d-", &pid); n == 1 && unix.Kill(pid, 0) == unix.ESRCH {
			_ = remove(path)
		}
	}
}

// makeDir makes a directory for a system's files. Its name is not the test's, which may have what a mount option can't.
//
// Killed afterwards: it stays for the next one to remove.
func makeDir() (string, error) {
	sweep(os.TempDir(), os.RemoveAll)
	dir, err := os.MkdirTemp("", ownPattern())
	if err != nil {
		return "", fmt.Errorf("make a directory for a system's files: %w", err)
	}
	return dir, nil
}
