package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// setup are the files that make a Debian root filesystem into that of a test machine.
var setup = []File{
	{Path: "/etc/fstab", Mode: 0o644, Data: []byte("/dev/vda / ext4 rw,noatime 0 0\n")},
	{Path: "/etc/hosts", Mode: 0o644, Data: []byte("127.0.0.1 localhost\n::1 localhost\n")},
	// All of a test's journal, and in memory: a kexec starts a new one, as the tests want it.
	{Path: "/etc/systemd/journald.conf.d/lab.conf", Mode: 0o644, Data: []byte(
		"[Journal]\nStorage=volatile\nForwardToConsole=no\nRateLimitIntervalSec=0\n")},
	// Emulated machines are slow, but nothing in them takes 90 s in earnest.
	{Path: "/etc/systemd/system.conf.d/lab.conf", Mode: 0o644, Data: []byte(
		"[Manager]\nDefaultTimeoutStopSec=30s\nShowStatus=no\n")},
}

// masked are units that slow a boot down, run at odd times, or wait for a network that is not there.
var masked = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"fstrim.timer", "man-db.timer", "systemd-networkd-wait-online.service", "systemd-timesyncd.service",
	"systemd-binfmt.service", "systemd-tpm2-setup-early.service", "systemd-tpm2-setup.service",
	"modprobe@configfs.service", "modprobe@drm.service", "modprobe@efi_pstore.service", "modprobe@fuse.service", // no modules
	"getty@tty1.service", // no screen; the serial console has a getty
}

func setupFiles(spec Spec) []File {
	files := append([]File{
		{Path: "/etc/hostname", Mode: 0o644, Data: []byte("lab-" + string(spec.Suite) + "\n")},
		{Path: "/etc/machine-id", Mode: 0o444, Data: []byte(machineID(spec.Suite) + "\n")},
	}, setup...)
	if spec.Dracut {
		files = append(files, dracutSetup)
	}
	return files
}

// setUp does what takes the guest's own tools.
func setUp(ctx context.Context, s *step, spec Spec, root string) error {
	commands := [][]string{
		{"chroot", root, "passwd", "--delete", "root"},
		{"chroot", root, "useradd", "--create-home", "--uid", "1000", "--shell", "/bin/bash", "alice"},
		append([]string{"chroot", root, "systemctl", "mask"}, masked...),
		append([]string{"chroot", root, "systemctl", "enable"}, spec.Enable...),
	}
	for _, c := range commands {
		if err := s.run(ctx, "", c[0], c[1:]...); err != nil {
			return err
		}
	}
	// Newer than /usr: no service shall think that this boot comes after an upgrade.
	later := time.Now().Add(time.Hour)
	for _, dir := range []string{"etc", "var"} {
		path := filepath.Join(root, dir, ".updated")
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return fmt.Errorf("mark the image as up to date: %w", err)
		}
		if err := os.Chtimes(path, later, later); err != nil {
			return fmt.Errorf("mark the image as up to date: %w", err)
		}
	}
	return nil
}
