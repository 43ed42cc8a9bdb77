// Command kexecload loads a kernel for the next `systemctl kexec`, with a command line and without an initrd. It lets the
// lab test itself on images that have neither luod nor kexec-tools.
package main

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: kexecload KERNEL CMDLINE")
		os.Exit(2)
	}
	if err := load(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "kexecload:", err)
		os.Exit(1)
	}
}

func load(image, cmdline string) error {
	f, err := os.Open(image)
	if err != nil {
		return fmt.Errorf("open the kernel: %w", err)
	}
	defer f.Close()
	if err := unix.KexecFileLoad(int(f.Fd()), -1, cmdline, unix.KEXEC_FILE_NO_INITRAMFS); err != nil {
		return fmt.Errorf("load %s: %w", image, err)
	}
	return nil
}
