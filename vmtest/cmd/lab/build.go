package main

import (
	"context"
	"fmt"
	"os"

	"github.com/liveupdate/luod/vmtest/lab"
)

func build(ctx context.Context, debs []string) error {
	if err := lab.Need(ctx, os.Stderr); err != nil {
		return err
	}
	older, newer, err := lab.Kernels(ctx, os.Stderr)
	if err != nil {
		return err
	}
	fmt.Printf("kernel %s %s\nkernel %s %s\n", older.Release, older.Image, newer.Release, newer.Image)
	entries, err := lab.BootFiles(ctx, os.Stderr, older, newer)
	if err != nil {
		return err
	}
	fmt.Printf("boot entries %s\n", entries)
	for _, suite := range lab.Suites {
		image, err := lab.BuildImage(ctx, os.Stderr, lab.Spec{Suite: suite, Debs: debs, Kernels: []lab.Kernel{older, newer}})
		if err != nil {
			return err
		}
		fmt.Printf("image %s %s\n", suite, image.Path)
	}
	return nil
}
