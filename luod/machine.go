package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/holdings"
)

func readMachine() (holdings.Machine, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return holdings.Machine{}, fmt.Errorf("ask the kernel for its release: %w", err)
	}
	line, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return holdings.Machine{}, fmt.Errorf("read the kernel's command line: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return holdings.Machine{}, fmt.Errorf("read the boot ID: %w", err)
	}
	return holdings.Machine{
		Release:     unix.ByteSliceToString(u.Release[:]),
		BootID:      strings.TrimSpace(string(boot)),
		CommandLine: strings.TrimSpace(string(line)),
		Booted:      booted,
	}, nil
}

// booted is when the kernel's clock started.
func booted() time.Time {
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return time.Now()
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}
