package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Interactive runs a machine with its console on this process's terminal, until it ends (Ctrl-A X ends it).
func Interactive(ctx context.Context, config Config) error {
	image, err := config.Image.Hold()
	if err != nil {
		return fmt.Errorf("run a machine: %w", err)
	}
	defer image.Close()
	args := append(config.arguments(), "-serial", "mon:stdio")
	cmd := exec.CommandContext(ctx, program, args...)
	runtime.LockOSThread() // for Pdeathsig, see Machine.run
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run a machine: %w", err)
	}
	return nil
}
