package systemdtest

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveupdate/luod/vmtest/lab"
)

// bootedPath is written when a system has booted, in each userspace anew.
const bootedPath = "/run/luod-systemdtest-booted"

// own are the files of every system. It boots as far as sockets and timers, without what takes time and what looks for devices.
func own(wants []string) []lab.File {
	return []lab.File{
		unitFile("default.target", "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\nWants=luod-systemdtest-booted.service "+strings.Join(wants, " ")+"\n"),
		unitFile("luod-systemdtest-booted.service", "[Unit]\nAfter=default.target "+strings.Join(wants, " ")+`
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'cat /proc/sys/kernel/random/uuid >`+bootedPath+`.new && mv `+bootedPath+`.new `+bootedPath+`'
`),
		{Path: "/etc/systemd/journald.conf.d/systemdtest.conf", Mode: 0o644, Data: []byte("[Journal]\nStorage=volatile\nReadKMsg=no\nRateLimitIntervalSec=0\n")},
		{Path: "/etc/systemd/system.conf.d/systemdtest.conf", Mode: 0o644, Data: []byte("[Manager]\nDefaultTimeoutStopSec=20s\nDefaultTimeoutStartSec=20s\n")},
	}
}

// masked are units that do nothing here but take time.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer", "man-db.timer",
	"ldconfig.service", "systemd-hwdb-update.service", "systemd-journal-catalog-update.service", "systemd-update-done.service",
	"systemd-sysusers.service", "systemd-firstboot.service", "systemd-binfmt.service", "systemd-sysctl.service",
	"systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service", "systemd-pcrphase.service", "systemd-pcrphase-sysinit.service",
	"systemd-machine-id-commit.service", "systemd-remount-fs.service", "systemd-modules-load.service", "systemd-random-seed.service",
	"systemd-udevd.service", "systemd-udev-trigger.service", "systemd-udevd-control.socket", "systemd-udevd-kernel.socket", "systemd-udevd-varlink.socket",
	"dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
	"kmod-static-nodes.service", "modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service",
	"systemd-logind.service", "dbus-org.freedesktop.login1.service", "systemd-resolved.service", "systemd-networkd.service", "systemd-timesyncd.service",
}

func unitFile(name, text string) lab.File {
	return lab.File{Path: "/etc/systemd/system/" + name, Mode: 0o644, Data: []byte(text)}
}

// layDown writes what is laid over the tree into dir.
func layDown(dir string, o Options) error {
	for _, name := range masked {
		path := filepath.Join(dir, "etc/systemd/system", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
		if err := os.Symlink("/dev/null", path); err != nil {
			return fmt.Errorf("mask %s: %w", name, err)
		}
	}
	files := append(own(o.Wants), o.Files...)
	for _, name := range slices.Sorted(maps.Keys(o.Units)) {
		files = append(files, unitFile(name, o.Units[name]))
	}
	for _, f := range files {
		if err := write(dir, f); err != nil {
			return err
		}
	}
	return nil
}

// write puts a file below root.
func write(root string, f lab.File) error {
	data := f.Data
	if f.Source != "" {
		var err error
		if data, err = os.ReadFile(f.Source); err != nil {
			return fmt.Errorf("read what shall be %s: %w", f.Path, err)
		}
	}
	path := filepath.Join(root, f.Path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	if err := os.WriteFile(path, data, f.Mode); err != nil {
		return fmt.Errorf("write %s: %w", f.Path, err)
	}
	return nil
}
