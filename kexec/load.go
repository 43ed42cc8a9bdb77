package kexec

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FileLoad is kexec_file_load(2): kernel and initrd are file descriptors that it borrows, or
// -1. What the error means says NewError.
func FileLoad(kernel, initrd int, commandLine string, flags int) error {
	return unix.KexecFileLoad(kernel, initrd, commandLine, flags)
}

// fileLoad is FileLoad; tests put errors in its place.
var fileLoad = FileLoad

// Flags of include/uapi/linux/kexec.h.
const (
	flagUnload = 1
	// NoInitramfs says that there is no initrd.
	NoInitramfs = 4
)

// Unload unloads whatever is loaded; it is no error if nothing is.
func Unload() error {
	if err := fileLoad(-1, -1, "", flagUnload); err != nil {
		return NewError("kexec_file_load(KEXEC_FILE_UNLOAD)", "", err)
	}
	return nil
}

// loadedPath is described in Documentation/ABI/testing/sysfs-kernel-kexec of
// the kernel.
const loadedPath = "/sys/kernel/kexec_loaded"

// Loaded says whether a kernel is loaded, by whomever.
func Loaded() (bool, error) { return loaded(loadedPath) }

func loaded(path string) (bool, error) {
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return false, fmt.Errorf("ask whether a kernel is loaded: this kernel was built without CONFIG_KEXEC_CORE, which CONFIG_KEXEC_FILE selects: %w", err)
	}
	if err != nil {
		return false, fmt.Errorf("ask whether a kernel is loaded: %w", err)
	}
	return strings.TrimSpace(string(b)) == "1", nil
}
