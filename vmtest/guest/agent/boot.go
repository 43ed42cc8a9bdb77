package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
)

func describeBoot() (protocol.Boot, error) {
	boot := protocol.Boot{Event: "boot", Systemd: systemdVersion()}
	for path, to := range map[string]*string{
		"/proc/sys/kernel/osrelease":      &boot.Kernel,
		"/proc/sys/kernel/random/boot_id": &boot.BootID,
	} {
		data, err := os.ReadFile(path)
		if err != nil {
			return boot, fmt.Errorf("describe the boot: %w", err)
		}
		*to = strings.TrimSpace(string(data))
	}
	uptime, err := os.ReadFile("/proc/uptime")
	if err != nil {
		return boot, fmt.Errorf("describe the boot: %w", err)
	}
	if _, err := fmt.Sscan(string(uptime), &boot.Uptime); err != nil {
		return boot, fmt.Errorf("read /proc/uptime: %w", err)
	}
	return boot, nil
}

// systemdVersion reads the version from the name of systemd's private library; asking systemctl takes much longer.
func systemdVersion() string {
	const prefix = "libsystemd-shared-"
	found, _ := filepath.Glob("/usr/lib/*/systemd/" + prefix + "*.so")
	if len(found) == 0 {
		return ""
	}
	name := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(found[0]), prefix), ".so")
	version, _, _ := strings.Cut(name, "-")
	return version
}
