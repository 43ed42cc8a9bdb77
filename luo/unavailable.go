package luo

import (
	"fmt"
	"os"
	"strings"
)

// UnavailableError says that this kernel offers no live update. On most machines
// that is the normal case.
type UnavailableError struct {
	// Reason is a clause with what is missing and what to do.
	Reason string
}

func (e *UnavailableError) Error() string { return e.Reason }

func unavailable() *UnavailableError {
	line, _ := os.ReadFile("/proc/cmdline")
	return &UnavailableError{Reason: explain(runningRelease(), string(line), runningConfig())}
}

// explain guesses why there is no device: it exists if the kernel was built with
// CONFIG_LIVEUPDATE and booted with liveupdate=on, and with KHO on
// (luo_core.c: liveupdate_ioctl_init, luo_early_startup). config may be empty.
func explain(release, commandLine, config string) string {
	text := DevicePath + " does not exist: the running kernel " + release
	set := func(option string) bool { return strings.Contains("\n"+config, "\n"+option+"=y\n") }
	on := enabled(commandLine, "liveupdate", false)
	switch {
	case tooOld(release):
		return text + " is older than Linux 6.19, the first with live update; boot a newer one with kho=on liveupdate=on"
	case config != "" && !set("CONFIG_LIVEUPDATE"):
		return text + " was built without CONFIG_LIVEUPDATE=y; boot one that has it, with kho=on liveupdate=on"
	case !on:
		return text + " was not booted with liveupdate=on; add kho=on liveupdate=on to its command line, if it was built with CONFIG_LIVEUPDATE=y (Linux 6.19 or later)"
	case !enabled(commandLine, "kho", config == "" || set("CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT")):
		return text + " was booted with KHO off; boot it with kho=on liveupdate=on"
	}
	return text + " was booted with liveupdate=on, so it was built without CONFIG_LIVEUPDATE=y or CONFIG_KEXEC_HANDOVER=y, or KHO is off by default and kho=on is missing, or it refused what the previous kernel handed over; 'dmesg | grep -i -e luo -e kho' may tell"
}

// enabled follows a boolean early parameter through the command line: the last
// value that kstrtobool (lib/kstrtox.c) understands wins, the bare word is no
// value, and what follows "--" is init's.
func enabled(commandLine, name string, value bool) bool {
	for _, word := range strings.Fields(commandLine) {
		if word == "--" {
			break
		}
		key, text, _ := strings.Cut(strings.Trim(word, `"`), "=")
		if key != name {
			continue
		}
		text = strings.ToLower(strings.Trim(text, `"`))
		switch {
		case text == "":
		case strings.ContainsRune("eyt1", rune(text[0])), strings.HasPrefix(text, "on"):
			value = true
		case strings.ContainsRune("dnf0", rune(text[0])), strings.HasPrefix(text, "of"):
			value = false
		}
	}
	return value
}

// tooOld is false for a release it can't read.
func tooOld(release string) bool {
	var major, minor int
	if n, _ := fmt.Sscanf(release, "%d.%d", &major, &minor); n < 2 {
		return false
	}
	return major < 6 || major == 6 && minor < 19
}
