package preflight

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// System is the machine that the checks look at.
type System struct {
	// Root is put before every path but the target's own; for tests.
	Root string
	// Arch is GOARCH's name of this machine's architecture, Release its uname -r.
	Arch, Release string
	// Successor is the service that takes memory over after the jump.
	Successor Service
	// RunningImages returns files that may hold the running kernel, besides those
	// that /boot and its modules directory have under its release; nil knows none.
	RunningImages func() []string
	// DeviceNumber returns the number of the block device at a path, and of the
	// file system's at "/". Nil asks the kernel.
	DeviceNumber func(path string) (uint64, error)
}

// Service is a unit, and the program that it runs.
type Service struct{ Unit, Program string }

func (s System) path(elements ...string) string {
	return filepath.Join(append([]string{"/", s.Root}, elements...)...)
}

// text reads a small file, or returns "".
func (s System) text(elements ...string) string {
	b, err := os.ReadFile(s.path(elements...))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

func (s System) exists(elements ...string) bool {
	_, err := os.Stat(s.path(elements...))
	return err == nil
}

// deviceNumber is that of a block device.
func (s System) deviceNumber(path string) (uint64, error) {
	if s.DeviceNumber != nil {
		return s.DeviceNumber(path)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(path, &st); err != nil {
		return 0, err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFBLK {
		return 0, os.ErrInvalid
	}
	return st.Rdev, nil
}

// fileSystem is the device that a path's file system lies on.
func (s System) fileSystem(elements ...string) (uint64, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(s.path(elements...), &st); err != nil {
		return 0, err
	}
	return st.Dev, nil
}
