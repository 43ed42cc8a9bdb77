package kexec

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// fileLoad is kexec_file_load(2); tests put errors in its place.
var fileLoad = func(kernel, initrd int, commandLine string, flags int) error {
	return unix.KexecFileLoad(kernel, initrd, commandLine, flags)
}

// Flags of include/uapi/linux/kexec.h.
const (
	flagUnload      = 1
	flagNoInitramfs = 4
)

// Load loads t in place of whatever was loaded. Nothing changes if it returns an
// error: a plain one where t is no good, an *Error where the kernel refused it.
func Load(t Target) error {
	s, err := Open(t)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Load()
}

// Load loads what was opened.
func (s *Sources) Load() error {
	path, line := s.target.Kernel, s.target.CommandLine
	if s.Image.Arch != runtime.GOARCH {
		return fmt.Errorf("load %s: it is a kernel for %s, and this machine is %s", path, s.Image.Arch, runtime.GOARCH)
	}
	if strings.ContainsAny(line, "\x00\n") {
		return fmt.Errorf("load %s: the command line contains a NUL or a newline", path)
	}
	if n := len(line); n > s.Image.MaxCommandLine {
		return fmt.Errorf("load %s: the command line has %d bytes, and this kernel takes at most %d", path, n, s.Image.MaxCommandLine)
	}
	if b, err := os.ReadFile("/proc/sys/kernel/kexec_load_disabled"); err == nil && strings.TrimSpace(string(b)) == "1" {
		return fmt.Errorf("load %s: kernel.kexec_load_disabled is 1, which forbids loading until the next reboot", path)
	}
	kernel, err := s.kernelFile()
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	files, err := s.initrdFile()
	if err != nil {
		return fmt.Errorf("load %s: %w", path, err)
	}
	initrd, flags := -1, flagNoInitramfs
	if files != nil {
		initrd, flags = int(files.Fd()), 0
	}
	err = fileLoad(int(kernel.Fd()), initrd, line, flags)
	runtime.KeepAlive(s)
	if err != nil {
		return newError("kexec_file_load", path, err)
	}
	return nil
}

// Unload unloads whatever is loaded; it is no error if nothing is.
func Unload() error {
	if err := fileLoad(-1, -1, "", flagUnload); err != nil {
		return newError("kexec_file_load(KEXEC_FILE_UNLOAD)", "", err)
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
