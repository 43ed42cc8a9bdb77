package lab

import (
	"context"
	_ "embed"
	"io"
	"path/filepath"
)

// dracutPackages bring dracut, and kexec, without which its way of shutting down ends in an ordinary reboot.
var dracutPackages = []string{"dracut", "zstd", "kexec-tools"}

// dracutSetup mends dracut 112: at a shutdown it has 3cpio unpack the initrd into /run/initramfs, which 3cpio refuses since
// that is never empty, and no shutdown ends in the initrd. Where there is no 3cpio, dracut does not look for it here.
var dracutSetup = File{Path: "/usr/local/bin/3cpio", Mode: 0o755, Data: []byte("#!/bin/sh\nexec /usr/bin/3cpio --force \"$@\"\n")}

//go:embed dracut.sh
var dracutScript string

// DracutFiles returns a directory with the initial RAM disks that the suite's dracut makes for the lab's kernels, as
// [Spec.Dracut] puts them into /boot. Systems that were booted with them return into them at a shutdown.
func DracutFiles(ctx context.Context, progress io.Writer, suite Suite, older, newer Kernel) (string, error) {
	name, err := dracutName(suite, older, newer)
	if err != nil {
		return "", err
	}
	dir, err := ensure(ctx, "dracut", name, func(dir string) (err error) {
		debian, err := base(ctx, progress, suite, dracutPackages)
		if err != nil {
			return err
		}
		s, err := beginStep(progress, "dracut-"+name, "making initial RAM disks with dracut (1 min)")
		if err != nil {
			return err
		}
		defer s.end(&err)
		return s.bootFiles(ctx, []string{debian}, dir, dracutScript, older, newer)
	})
	return filepath.Join(dir, "root"), err
}

func dracutName(suite Suite, older, newer Kernel) (string, error) {
	r := newRecipe("dracut")
	r.add(baseName(suite, dracutPackages), dracutScript)
	for _, k := range []Kernel{older, newer} {
		if err := r.addKernel(k); err != nil {
			return "", err
		}
	}
	return string(suite) + "-" + r.key(), nil
}
