package lab

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// imageSize is the root filesystem's size. The file is sparse.
const imageSize = "1536M"

// Spec is what a disk image is made from.
type Spec struct {
	Suite    Suite
	Packages []string // Debian packages beyond the base, from the suite
	Debs     []string // package files, installed with dpkg in one go; how luod gets in
	Kernels  []Kernel // go to /boot/vmlinuz-RELEASE, for a kexec into them
	Files    []File   // what only the tests need
	Enable   []string // units to enable

	// BootEntries adds what [BootFiles] makes of the two Kernels, the older first, and the tools that go with it: initial
	// RAM disks, a boot entry, unified kernel images, and a kernel of Debian's own that no entry names. For trixie only.
	BootEntries bool

	// Dracut adds Debian's dracut, and what [DracutFiles] makes with it for the two Kernels.
	Dracut bool

	// OwnKernel adds the kernel that the suite itself comes with, which is [Image.Own], and its initial RAM disk.
	OwnKernel bool
}

// kind is how the names of its images begin.
func (s Spec) kind() string {
	switch {
	case s.BootEntries:
		return "entries-" + string(s.Suite)
	case s.Dracut:
		return "dracut-" + string(s.Suite)
	case s.OwnKernel:
		return "own-" + string(s.Suite)
	}
	return string(s.Suite)
}

func (s Spec) packages() []string {
	switch {
	case s.BootEntries:
		return slices.Concat(s.Packages, bootPackages)
	case s.Dracut:
		return slices.Concat(s.Packages, dracutPackages)
	case s.OwnKernel:
		return slices.Concat(s.Packages, ownPackages)
	}
	return s.Packages
}

// layers are the directories that the root filesystem is put together from.
func (s Spec) layers(ctx context.Context, progress io.Writer) ([]string, error) {
	root, err := base(ctx, progress, s.Suite, s.packages())
	if err != nil || !s.BootEntries && !s.Dracut {
		return []string{root}, err
	}
	var boot string
	if s.Dracut {
		boot, err = DracutFiles(ctx, progress, s.Suite, s.Kernels[0], s.Kernels[1])
	} else {
		boot, err = BootFiles(ctx, progress, s.Kernels[0], s.Kernels[1])
	}
	return []string{root, boot}, err
}

// File is a file to put into an image, owned by root. Directories on the way are made.
type File struct {
	Path   string // absolute, in the guest
	Mode   fs.FileMode
	Data   []byte
	Source string // a file on this machine to copy, if not empty; then Data is not looked at
}

// Image is a disk with a bootable root filesystem. Machines never write to it.
type Image struct {
	Suite Suite
	Path  string
	// Initrds are copies of those in its /boot that a machine can start with, by the kernel's release.
	Initrds map[string]string
	// Own is the suite's own kernel, if it was asked for.
	Own Kernel
}

// BuildImage returns the image for spec, building it and what it is made from if the cache has none.
func BuildImage(ctx context.Context, progress io.Writer, spec Spec) (Image, error) {
	if spec.BootEntries && (spec.Suite != Trixie || len(spec.Kernels) != 2) {
		return Image{}, fmt.Errorf("build an image with boot entries: it takes trixie and 2 kernels, not %s and %d",
			spec.Suite, len(spec.Kernels))
	}
	if spec.Dracut && (spec.BootEntries || len(spec.Kernels) != 2) {
		return Image{}, fmt.Errorf("build an image with dracut: it takes 2 kernels, not %d, and no boot entries", len(spec.Kernels))
	}
	if spec.OwnKernel && (spec.BootEntries || spec.Dracut) {
		return Image{}, errors.New("build an image with the suite's own kernel: it has neither boot entries nor dracut")
	}
	agent, err := agentFiles(ctx)
	if err != nil {
		return Image{}, err
	}
	spec.Files = append(agent, spec.Files...)
	spec.Enable = append([]string{agentService}, spec.Enable...)
	name, err := imageName(spec)
	if err != nil {
		return Image{}, err
	}
	dir, err := ensure(ctx, "image", name, func(dir string) error {
		layers, err := spec.layers(ctx, progress)
		if err != nil {
			return err
		}
		return makeImage(ctx, progress, spec, name, layers, dir)
	})
	if err != nil {
		return Image{}, err
	}
	made := Image{Suite: spec.Suite, Path: filepath.Join(dir, "root.img")}
	if spec.Dracut {
		boot, err := DracutFiles(ctx, progress, spec.Suite, spec.Kernels[0], spec.Kernels[1])
		if err != nil {
			return Image{}, err
		}
		made.Initrds = map[string]string{}
		for _, k := range spec.Kernels {
			made.Initrds[k.Release] = filepath.Join(boot, k.initrd())
		}
	}
	if spec.OwnKernel {
		kernel, initrd, err := ownKernel(ctx, progress, spec)
		if err != nil {
			return Image{}, err
		}
		made.Own, made.Initrds = kernel, map[string]string{kernel.Release: initrd}
	}
	now := time.Now()
	if err := os.Chtimes(dir, now, now); err != nil { // the age that collect goes by is that of the last use
		return Image{}, fmt.Errorf("note an image's use: %w", err)
	}
	if err := collect(spec.kind()); err != nil {
		fmt.Fprintf(progress, "lab: %v\n", err)
	}
	return made, nil
}

func imageName(spec Spec) (string, error) {
	r := newRecipe("image")
	r.add(baseName(spec.Suite, spec.packages()), imageSize, inChroot)
	for _, deb := range spec.Debs {
		r.add("deb")
		if err := r.addFile(deb); err != nil {
			return "", fmt.Errorf("identify package %s: %w", deb, err)
		}
	}
	for _, k := range spec.Kernels {
		if err := r.addKernel(k); err != nil {
			return "", err
		}
	}
	if spec.BootEntries {
		boot, err := bootName(spec.Kernels[0], spec.Kernels[1])
		if err != nil {
			return "", err
		}
		r.add("boot", boot)
	}
	if spec.Dracut {
		boot, err := dracutName(spec.Suite, spec.Kernels[0], spec.Kernels[1])
		if err != nil {
			return "", err
		}
		r.add("dracut", boot, dracutSetup.Path, string(dracutSetup.Data))
	}
	for _, f := range spec.Files {
		data, err := f.read()
		if err != nil {
			return "", err
		}
		r.add("file", f.Path, f.Mode.String(), string(data))
	}
	r.add("enable")
	r.add(spec.Enable...)
	for _, s := range setup {
		r.add("setup", s.Path, s.Mode.String(), string(s.Data))
	}
	r.add("mask")
	r.add(masked...)
	return spec.kind() + "-" + r.key(), nil
}

func (f File) read() ([]byte, error) {
	if f.Source == "" {
		return f.Data, nil
	}
	data, err := os.ReadFile(f.Source)
	if err != nil {
		return nil, fmt.Errorf("read what shall be the image's %s: %w", f.Path, err)
	}
	return data, nil
}

func makeImage(ctx context.Context, progress io.Writer, spec Spec, name string, layers []string, dir string) (err error) {
	s, err := beginStep(progress, "image-"+name, fmt.Sprintf("making a disk image of Debian %s (20 s)", spec.Suite))
	if err != nil {
		return err
	}
	defer s.end(&err)
	root := filepath.Join(dir, "root")
	if err := s.copyLayers(ctx, layers, root); err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := fillRoot(ctx, s, spec, root); err != nil {
		return err
	}
	image := filepath.Join(dir, "root.img")
	return s.run(ctx, "", "mkfs.ext4", "-q", "-F", "-L", "luod-lab", "-m", "0", "-d", root, image, imageSize)
}

// copyLayers lays directories over one another.
func (s *step) copyLayers(ctx context.Context, layers []string, root string) error {
	for _, layer := range layers {
		if err := s.run(ctx, "", "cp", "-a", "--reflink=auto", layer+"/.", root); err != nil {
			return err
		}
	}
	return nil
}

// fillRoot makes a base filesystem into that of a test machine.
func fillRoot(ctx context.Context, s *step, spec Spec, root string) error {
	if err := installDebs(ctx, s, spec.Debs, root); err != nil {
		return err
	}
	for _, k := range spec.Kernels {
		if err := k.file().put(root); err != nil {
			return err
		}
	}
	for _, f := range append(setupFiles(spec), spec.Files...) {
		if err := f.put(root); err != nil {
			return err
		}
	}
	return setUp(ctx, s, spec, root)
}

// inChroot has /proc there, which programs of maintainer scripts need (journalctl
// --update-catalog of systemd 262 fails without), and leaves no mount behind.
const inChroot = `mount -t proc proc "$0/proc"; exec chroot "$0" "$@"`

// installDebs installs package files as an administrator would without a network: their dependencies must be there.
func installDebs(ctx context.Context, s *step, debs []string, root string) error {
	if len(debs) == 0 {
		return nil
	}
	inside := filepath.Join(root, "var/cache/luod-lab")
	if err := os.MkdirAll(inside, 0o755); err != nil {
		return fmt.Errorf("install packages into the image: %w", err)
	}
	defer os.RemoveAll(inside)
	args := []string{"--mount", "--propagation", "private", "sh", "-ec", inChroot, root, "dpkg", "--install"}
	for _, deb := range debs {
		data, err := os.ReadFile(deb)
		if err != nil {
			return fmt.Errorf("install packages into the image: %w", err)
		}
		if err := os.WriteFile(filepath.Join(inside, filepath.Base(deb)), data, 0o644); err != nil {
			return fmt.Errorf("install packages into the image: %w", err)
		}
		args = append(args, "/var/cache/luod-lab/"+filepath.Base(deb))
	}
	return s.run(ctx, "", "unshare", args...)
}

// put writes the file below root. It is never written through a link that leads out of root.
func (f File) put(root string) error {
	data, err := f.read()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(f.Path) {
		return fmt.Errorf("put %s into the image: the path is not absolute", f.Path)
	}
	in, err := os.OpenRoot(root)
	if err != nil {
		return fmt.Errorf("put %s into the image: %w", f.Path, err)
	}
	defer in.Close()
	name := strings.TrimPrefix(filepath.Clean(f.Path), "/")
	if err := in.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return fmt.Errorf("put %s into the image: %w", f.Path, err)
	}
	if err := in.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("put %s into the image: %w", f.Path, err)
	}
	if err := in.WriteFile(name, data, 0o600); err != nil {
		return fmt.Errorf("put %s into the image: %w", f.Path, err)
	}
	if err := in.Chmod(name, f.Mode); err != nil {
		return fmt.Errorf("put %s into the image: %w", f.Path, err)
	}
	return nil
}

// machineID gives each kind of machine an identity that stays.
func machineID(suite Suite) string {
	r := newRecipe("machine-id")
	r.add(string(suite))
	return hex.EncodeToString(r.sum[:16])
}
