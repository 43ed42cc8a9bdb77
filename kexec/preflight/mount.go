package preflight

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount is a mounted file system.
type mount struct {
	device       uint64
	kind, source string
}

// rootMount finds the one at "/" in /proc/self/mountinfo (proc(5)); of several on
// top of each other the last counts.
func (s System) rootMount() (mount, error) {
	var m mount
	for line := range strings.Lines(s.text("proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		own, about := strings.Fields(before), strings.Fields(after)
		if !ok || len(own) < 5 || len(about) < 2 || own[4] != "/" {
			continue
		}
		major, minor, _ := strings.Cut(own[2], ":")
		a, errA := strconv.ParseUint(major, 10, 32)
		b, errB := strconv.ParseUint(minor, 10, 32)
		if errA != nil || errB != nil {
			continue
		}
		m = mount{unix.Mkdev(uint32(a), uint32(b)), about[0], about[1]}
	}
	if m.kind == "" {
		return m, errors.New("the root file system is not in /proc/self/mountinfo")
	}
	// Some file systems (btrfs) have a number of their own, which is no device's.
	if unix.Major(m.device) == 0 {
		number, err := s.deviceNumber(s.path(m.source))
		if err != nil {
			return m, fmt.Errorf("the root file system %s lies on no block device", m.kind)
		}
		m.device = number
	}
	return m, nil
}

// drivers are the modules that lead from the machine to the file system: the one
// of the file system itself, and those of the block device and what it is
// connected to (the links named driver in sysfs).
func (s System) drivers(m mount) []string {
	list := []string{m.kind}
	dir, err := filepath.EvalSymlinks(s.path("sys/dev/block", fmt.Sprintf("%d:%d", unix.Major(m.device), unix.Minor(m.device))))
	if err != nil {
		return list
	}
	for top := s.path("sys/devices"); len(dir) > len(top); dir = filepath.Dir(dir) {
		driver, err := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil {
			continue
		}
		// The module has another name than the driver where there is one.
		if module, err := os.Readlink(filepath.Join(dir, "driver", "module")); err == nil {
			driver = module
		}
		list = append(list, strings.ReplaceAll(filepath.Base(driver), "-", "_"))
	}
	return list
}
