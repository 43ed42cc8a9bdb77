package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/internal/sdnotify"
)

// noted is what was frozen.
const noted = "/run/luod/frozen.json"

func main() {
	thaw := flag.Bool("thaw", false, "thaw what a luod-jump that was killed has frozen")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "Usage: luod-jump [--thaw]\n\nThe jump of a fast live update; luod starts it as luod-jump.service, see luod(8).")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	do := jump
	if *thaw {
		do = func() error { return recoverFrozen(system{}, noted) }
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "luod-jump:", err)
		say(err)
		os.Exit(1)
	}
}

// say tells PID 1 why, where luod reads it.
func say(err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = sdnotify.Say(ctx, err.Error())
}

func recoverFrozen(k kernel, path string) error {
	f, is, err := left(path)
	if err != nil || !is {
		return err
	}
	return f.undo(k, path)
}

func jump() error {
	if err := committed(phase.Record); err != nil {
		return err
	}
	mounts, err := mountinfo.GetMounts(nil)
	if err != nil {
		return fmt.Errorf("list the file systems: %w", err)
	}
	unix.Sync()
	done, err := freeze(system{}, toFreeze(mounts), noted)
	if err == nil {
		// It returns only to say no (kernel/reboot.c).
		err = unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC)
		err = fmt.Errorf("boot the loaded kernel: %w", reason(err))
	}
	return errors.Join(err, done.undo(system{}, noted))
}

func reason(err error) error {
	switch {
	case err == nil:
		return errors.New("the kernel did not jump, and did not say why")
	case errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%w: no kernel is loaded, or the kernel log says why the live update was refused", err)
	}
	return fmt.Errorf("%w: see the kernel log", err)
}

// committed refuses to jump for anybody but luod.
func committed(path string) error {
	now, err := phase.Read(path)
	if err != nil {
		return err
	}
	if now != phase.Committed {
		return fmt.Errorf("no live update is committed (luod's record says %q): this is started by luod alone, see 'luoctl live-update --fast'", now)
	}
	return nil
}
