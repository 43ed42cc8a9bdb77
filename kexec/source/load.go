package source

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/liveupdate/luod/kexec"
)

// fileLoad is kexec_file_load(2); tests put errors in its place.
var fileLoad = kexec.FileLoad

// Load loads what was opened in place of whatever was loaded. Nothing changes if it returns
// an error: a plain one where it is no good, a *kexec.Error where the kernel refused it.
func (s *Source) Load() error {
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
	initrd, flags := -1, kexec.NoInitramfs
	if files != nil {
		initrd, flags = int(files.Fd()), 0
	}
	err = fileLoad(int(kernel.Fd()), initrd, line, flags)
	runtime.KeepAlive(s)
	if err != nil {
		return kexec.NewError("kexec_file_load", path, err)
	}
	return nil
}
