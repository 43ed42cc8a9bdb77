package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Suite is a Debian release to make a root filesystem of.
type Suite string

const (
	Bookworm Suite = "bookworm" // systemd 252, the oldest that luod works on
	Trixie   Suite = "trixie"   // systemd 257, which loses every fd at a kexec
	Sid      Suite = "sid"      // systemd 261 or newer, which carries preserved fd stores itself
)

// Suites are those that the lab tests itself with, oldest first.
var Suites = []Suite{Trixie, Sid}

// basePackages come on top of debootstrap's minbase.
var basePackages = []string{"dbus", "libpam-systemd", "polkitd", "pkexec", "python3-minimal", "systemd", "systemd-sysv", "udev"}

func baseName(suite Suite, extra []string) string {
	r := newRecipe("base")
	r.add(string(suite))
	r.add(packagesOf(extra)...)
	return string(suite) + "-" + r.key()
}

func packagesOf(extra []string) []string {
	all := slices.Concat(basePackages, extra)
	slices.Sort(all)
	return slices.Compact(all)
}

// base returns a directory with the suite's root filesystem as debootstrap makes it. It is never made again because of
// its age: a test's result shall not change with Debian's day.
func base(ctx context.Context, progress io.Writer, suite Suite, extra []string) (string, error) {
	dir, err := ensure(ctx, "base", baseName(suite, extra), func(dir string) error {
		return bootstrap(ctx, progress, suite, extra, dir)
	})
	return filepath.Join(dir, "root"), err
}

func bootstrap(ctx context.Context, progress io.Writer, suite Suite, extra []string, dir string) (err error) {
	s, err := beginStep(progress, "base-"+baseName(suite, extra), fmt.Sprintf("installing Debian %s into a directory (1 min)", suite))
	if err != nil {
		return err
	}
	defer s.end(&err)
	site, err := mirror(ctx)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	if err := s.run(ctx, "", "debootstrap", "--variant=minbase", "--arch=amd64", "--keyring="+keyring,
		"--include="+strings.Join(packagesOf(extra), ","), string(suite), root, site); err != nil {
		return err
	}
	return prune(root)
}

// prune removes what no test looks at, which makes copies and images quicker.
func prune(root string) error {
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*",
		"usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "var/log/*.log", "var/cache/debconf/*-old"} {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, path := range found {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("prune a root filesystem: %w", err)
			}
		}
	}
	return nil
}
