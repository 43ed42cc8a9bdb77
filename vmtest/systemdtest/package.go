package systemdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// The packages of a system that [BootPackaged] has booted.
const (
	newDeb = "/usr/lib/luod-lab/new.deb"
	oldDeb = "/usr/lib/luod-lab/old.deb"
)

// BootPackaged boots a system without luod, on kernel, with two packages of it that [Luod] can be installed from by dpkg:
// newDeb is what this tree makes, but for the fake kernel, and oldDeb has a lower version and the maintainer scripts of 0.1.0
// as they first were (testdata). A package of the sources of then would take the history, which not every checkout has; one
// that was made with it (make deb GOFLAGS=-tags=luofake) is taken from LUOD_OLD_PACKAGE.
func BootPackaged(t testing.TB, o Options, kernel *luofake.Kernel) *Luod {
	t.Helper()
	need(t, o.Suite)
	files, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	o.Files = append(append(append([]lab.File{}, o.Files...), files...), jumpHook(t))
	o.Wants = append(append([]string{}, o.Wants...), "dbus.service")
	return bootOn(t, o, kernel, "root=fake")
}

var packages = sync.OnceValues(func() ([]lab.File, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	dir, err := os.MkdirTemp("", ownPattern())
	if err != nil {
		return nil, fmt.Errorf("build luod's package: %w", err)
	}
	defer os.RemoveAll(dir)
	made := exec.Command("make", "-C", filepath.Dir(strings.TrimSpace(string(mod))), "deb", "DIST="+dir)
	made.Env = append(os.Environ(), "GOFLAGS=-tags=luofake")
	if text, err := made.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build luod's package: %w: %s", err, text)
	}
	debs, err := filepath.Glob(filepath.Join(dir, "luod_*.deb"))
	if err != nil || len(debs) != 1 {
		return nil, fmt.Errorf("build luod's package: found %q: %w", debs, err)
	}
	old := os.Getenv("LUOD_OLD_PACKAGE")
	if old == "" {
		old = filepath.Join(dir, "old.deb")
		if err := makeOld(debs[0], filepath.Join(dir, "old"), old); err != nil {
			return nil, fmt.Errorf("build an earlier package: %w", err)
		}
	}
	var files []lab.File
	for path, from := range map[string]string{newDeb: debs[0], oldDeb: old} {
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, fmt.Errorf("build luod's package: %w", err)
		}
		files = append(files, lab.File{Path: path, Mode: 0o644, Data: data})
	}
	return files, nil
})

var versionLine = regexp.MustCompile(`(?m)^Version: .*$`)

// makeOld makes of a package one that came before; it works in dir.
func makeOld(deb, dir, old string) error {
	if text, err := exec.Command("dpkg-deb", "--raw-extract", deb, dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w: %s", deb, err, text)
	}
	control := filepath.Join(dir, "DEBIAN/control")
	text, err := os.ReadFile(control)
	if err != nil {
		return err
	}
	if err := os.WriteFile(control, versionLine.ReplaceAll(text, []byte("Version: 0.0.1")), 0o644); err != nil {
		return err
	}
	// It had no luod-bus. Its own luod was on the bus, where this one is not: luoctl finds it all the same.
	for _, path := range []string{"usr/lib/luod/luod-bus", "lib/systemd/system/luod-bus.service", "usr/lib/systemd/system/luod-bus.service", "usr/lib/sysusers.d/luod.conf", "usr/share/dbus-1/system-services/org.luod.LiveUpdate1.service"} {
		if err := os.RemoveAll(filepath.Join(dir, path)); err != nil {
			return err
		}
	}
	for _, script := range []string{"prerm", "postinst", "postrm"} {
		text, err := os.ReadFile(filepath.Join("testdata/0.1.0", script))
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "DEBIAN", script), text, 0o755); err != nil {
			return err
		}
	}
	if text, err := exec.Command("dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", dir, old).CombinedOutput(); err != nil {
		return fmt.Errorf("pack it: %w: %s", err, text)
	}
	return nil
}
