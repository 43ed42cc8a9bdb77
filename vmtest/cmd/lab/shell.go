package main

import (
	"context"
	"fmt"
	"os"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

func shell(ctx context.Context, debs []string, suite lab.Suite) error {
	if suite != lab.Trixie && suite != lab.Sid {
		return fmt.Errorf("shell: %q is not a suite of the lab (%v)", suite, lab.Suites)
	}
	if err := lab.Need(ctx, os.Stderr); err != nil {
		return err
	}
	older, newer, err := lab.Kernels(ctx, os.Stderr)
	if err != nil {
		return err
	}
	image, err := lab.BuildImage(ctx, os.Stderr, lab.Spec{Suite: suite, Debs: debs, Kernels: []lab.Kernel{older, newer}})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "lab: log in as root, without a password; Ctrl-A X ends the machine")
	return machine.Interactive(ctx, machine.Config{Kernel: older, Image: image})
}
