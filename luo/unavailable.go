package luo

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// UnavailableError says that this kernel offers no live update. On most machines
// that is the normal case.
type UnavailableError struct {
	// Reason is a clause with what is missing and what to do.
	Reason string
}

func (e *UnavailableError) Error() string { return e.Reason }

func unavailable() *UnavailableError {
	var u unix.Utsname
	_ = unix.Uname(&u)
	release := unix.ByteSliceToString(u.Release[:])
	line, _ := os.ReadFile("/proc/cmdline")
	config, _ := os.ReadFile("/boot/config-" + release)
	return &UnavailableError{Reason: explain(release, string(line), string(config))}
}

// explain guesses why there is no device: it exists if the kernel was built with
// CONFIG_LIVEUPDATE and booted with liveupdate=on, and with KHO on
// (luo_core.c: liveupdate_ioctl_init, luo_early_startup).
func explain(release, commandLine, config string) string {
	on, kho := false, true
	for _, word := range strings.Fields(commandLine) {
		switch word {
		case "liveupdate=on", "liveupdate=1", "liveupdate=y", "liveupdate":
			on = true
		case "liveupdate=off", "liveupdate=0", "liveupdate=n":
			on = false
		case "kho=off", "kho=0", "kho=n":
			kho = false
		}
	}
	text := DevicePath + " does not exist: "
	switch {
	case config != "" && !strings.Contains(config, "CONFIG_LIVEUPDATE=y"):
		return text + "the running kernel " + release + " was built without CONFIG_LIVEUPDATE=y; boot one that has it, with kho=on liveupdate=on"
	case !on:
		return text + "the running kernel " + release + " was not booted with liveupdate=on; add kho=on liveupdate=on to its command line, if it was built with CONFIG_LIVEUPDATE=y (Linux 6.19 or later)"
	case !kho:
		return text + "the running kernel " + release + " was booted with KHO off; boot it with kho=on liveupdate=on"
	}
	return text + "the running kernel " + release + " was booted with liveupdate=on, so it was built without CONFIG_LIVEUPDATE=y or CONFIG_KEXEC_HANDOVER=y, or it refused what the previous kernel handed over; 'dmesg | grep -i -e luo -e kho' may tell"
}
