// Command fakejump is what systemd-shutdown runs at its very end (systemd-shutdown(8)) in a system whose kernel is a fake
// outside of it: it has that jump, as reboot(2) would, if a kernel is loaded. Just before it runs /usr/lib/luod-lab/last-second, if a test has put that
// there: all that such hooks do otherwise, they do at the same time.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/liveupdate/luod/luo/luofake/outside"
)

func main() {
	if err := run(); err != nil {
		// Nobody else listens any more.
		_ = os.WriteFile("/dev/kmsg", fmt.Appendf(nil, "<27>fakejump: %v\n", err), 0)
		os.Exit(1)
	}
}

// The paths are those of luod/kernel_outside.go.
func run() error {
	loaded, err := os.ReadFile("/sys/kernel/kexec_loaded")
	if err != nil || strings.TrimSpace(string(loaded)) != "1" {
		return err
	}
	if err := exec.Command("/usr/lib/luod-lab/last-second").Run(); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("run last-second: %w", err)
	}
	line, err := os.ReadFile("/run/luofake-command-line")
	if err != nil {
		return err
	}
	return outside.Driver("/dev/outside/luo").Jump(string(line))
}
