package lab

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// EntryOptions is the kernel command line of the boot entries: that of a machine's start, without the two parameters that
// a live update adds.
const EntryOptions = "root=/dev/vda rw rootfstype=ext4 console=ttyS0 tsc=reliable panic=-1 net.ifnames=0 " +
	"systemd.show_status=0 loglevel=4"

// bootPackages make the boot files, and are what an administrator has who boots kernels by hand.
var bootPackages = []string{
	"initramfs-tools", "zstd",
	"systemd-ukify", "systemd-boot-efi", "python3-cffi-backend", // debootstrap does not see what is only provided
	"systemd-boot-tools", "kexec-tools", "time", "xz-utils", "lz4", "lzop",
}

//go:embed bootfiles.sh
var bootScript string

// BootFiles returns a directory with what [Spec.BootEntries] puts into /boot and /usr/lib/modules. Nothing of it depends
// on luod, so a change to luod costs no more than a copy.
func BootFiles(ctx context.Context, progress io.Writer, older, newer Kernel) (string, error) {
	name, err := bootName(older, newer)
	if err != nil {
		return "", err
	}
	dir, err := ensure(ctx, "boot", name, func(dir string) error {
		debian, err := base(ctx, progress, Trixie, bootPackages)
		if err != nil {
			return err
		}
		stock, err := stockKernel(ctx, progress)
		if err != nil {
			return err
		}
		return makeBootFiles(ctx, progress, name, []string{debian, stock}, older, newer, dir)
	})
	return filepath.Join(dir, "root"), err
}

func bootName(older, newer Kernel) (string, error) {
	r := newRecipe("boot")
	r.add(baseName(Trixie, bootPackages), stockName(), EntryOptions, bootScript)
	for _, k := range []Kernel{older, newer} {
		if err := r.addKernel(k); err != nil {
			return "", err
		}
	}
	return string(Trixie) + "-" + r.key(), nil
}

func makeBootFiles(ctx context.Context, progress io.Writer, name string, layers []string, older, newer Kernel, dir string) (err error) {
	s, err := beginStep(progress, "boot-"+name, "making initial RAM disks and boot entries (15 s)")
	if err != nil {
		return err
	}
	defer s.end(&err)
	return s.bootFiles(ctx, layers, dir, bootScript, older, newer, EntryOptions)
}

// bootFiles runs script in a root filesystem made of layers that has the kernels, with their releases and options as
// arguments, and leaves what is then in its /boot and /usr/lib/modules in dir/root.
func (s *step) bootFiles(ctx context.Context, layers []string, dir, script string, older, newer Kernel, options ...string) error {
	work := filepath.Join(dir, "work")
	if err := s.copyLayers(ctx, layers, work); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	program := File{Path: "/bootfiles.sh", Mode: 0o755, Data: []byte(script)}
	for _, f := range []File{older.file(), newer.file(), program} {
		if err := f.put(work); err != nil {
			return err
		}
	}
	args := []string{"--mount", "--propagation", "private", "sh", "-ec", inChroot, work, "sh", program.Path, older.Release, newer.Release}
	if err := s.run(ctx, "", "unshare", append(args, options...)...); err != nil {
		return err
	}
	root := filepath.Join(dir, "root")
	if err := os.MkdirAll(filepath.Join(root, "usr/lib"), 0o755); err != nil {
		return fmt.Errorf("take the boot files out of their root filesystem: %w", err)
	}
	for _, part := range []string{"boot", "usr/lib/modules"} {
		if err := os.Rename(filepath.Join(work, part), filepath.Join(root, part)); err != nil {
			return fmt.Errorf("take the boot files out of their root filesystem: %w", err)
		}
	}
	return nil
}
