package lab

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
)

// ownPackages bring the kernel that a suite itself comes with, for virtual machines, and what makes the initial RAM disk in
// which it has the drivers for the disk.
var ownPackages = []string{stockMeta, "initramfs-tools", "zstd"}

// ownKernel returns the kernel that an image with [Spec.OwnKernel] has in its /boot, and the path of its initial RAM disk.
func ownKernel(ctx context.Context, progress io.Writer, spec Spec) (kernel Kernel, initrd string, err error) {
	root, err := base(ctx, progress, spec.Suite, spec.packages())
	if err != nil {
		return kernel, "", err
	}
	images, err := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return kernel, "", fmt.Errorf("find the kernel of %s itself: there are %q, not one (%v)", spec.Suite, images, err)
	}
	kernel = Kernel{Release: strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-"), Image: images[0]}
	initrd = filepath.Join(root, kernel.initrd())
	if found, err := filepath.Glob(initrd); err != nil || len(found) != 1 {
		return kernel, "", fmt.Errorf("find the initial RAM disk of %s's kernel: there is no %s (%v)", spec.Suite, initrd, err)
	}
	return kernel, initrd, nil
}
