package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// kernelConfig is what the lab's kernels have beyond `make allnoconfig`.
//
//go:embed luo-vm.config
var kernelConfig string

// Kernel is a bootable kernel with the Live Update Orchestrator.
type Kernel struct {
	Release string // what uname -r says in it
	Image   string // the bzImage's path
	Version string // the Debian version of its source, empty for a kernel from LUOD_LAB_KERNELS
}

// file is the kernel's place in a root filesystem.
func (k Kernel) file() File {
	return File{Path: "/boot/vmlinuz-" + k.Release, Mode: 0o644, Source: k.Image}
}

// initrd is where its initial RAM disk is.
func (k Kernel) initrd() string { return "/boot/initrd.img-" + k.Release }

// Kernels returns two kernels of different versions, building them when the cache has none.
func Kernels(ctx context.Context, progress io.Writer) (older, newer Kernel, err error) {
	if dir := os.Getenv("LUOD_LAB_KERNELS"); dir != "" {
		return readyKernels(dir)
	}
	r, err := resolve(ctx, progress, os.Getenv("LUOD_LAB_REFRESH") == "1")
	if err != nil {
		return older, newer, err
	}
	older, newer, err = buildBoth(ctx, progress, r)
	if errors.Is(err, errGone) {
		// The mirror has moved on since the choice was made.
		fmt.Fprintf(progress, "lab: choosing kernels again: %v\n", err)
		if r, err = resolve(ctx, progress, true); err != nil {
			return older, newer, err
		}
		older, newer, err = buildBoth(ctx, progress, r)
	}
	return older, newer, err
}

func buildBoth(ctx context.Context, progress io.Writer, r resolution) (older, newer Kernel, err error) {
	if older, err = buildKernel(ctx, progress, r.Older); err != nil {
		return older, newer, err
	}
	newer, err = buildKernel(ctx, progress, r.Newer)
	return older, newer, err
}

// readyKernels takes the two newest kernels from a directory.
func readyKernels(dir string) (older, newer Kernel, err error) {
	paths, err := filepath.Glob(filepath.Join(dir, "vmlinuz-*"))
	if err != nil {
		return older, newer, err
	}
	var all []Kernel
	for _, path := range paths {
		release, err := bzImageRelease(path)
		if err != nil {
			return older, newer, fmt.Errorf("take the kernels of LUOD_LAB_KERNELS: %w", err)
		}
		all = append(all, Kernel{Release: release, Image: path})
	}
	if len(all) < 2 {
		return older, newer, fmt.Errorf("take the kernels of LUOD_LAB_KERNELS: %s has %d vmlinuz-* files, two are needed", dir, len(all))
	}
	slices.SortFunc(all, func(a, b Kernel) int {
		u, _ := parseUpstream(a.Release)
		v, _ := parseUpstream(b.Release)
		if c := u.compare(v); c != 0 {
			return c
		}
		return strings.Compare(a.Release, b.Release)
	})
	return all[len(all)-2], all[len(all)-1], nil
}

// kernelName is a kernel's directory in the cache.
func kernelName(v debVersion) string {
	r := newRecipe("kernel")
	r.add(v.Package, v.Version, kernelConfig)
	return v.Version + "-" + r.key()
}

// errGone says that the mirror does not have a version any more.
var errGone = errors.New("the mirror does not have it any more")

// needed are the options without which a kernel is of no use here; `make` drops what it does not know without a word.
var needed = []string{"CONFIG_LIVEUPDATE=y", "CONFIG_LIVEUPDATE_MEMFD=y", "CONFIG_KEXEC_HANDOVER=y", "CONFIG_KEXEC_FILE=y"}

func buildKernel(ctx context.Context, progress io.Writer, v debVersion) (Kernel, error) {
	dir, err := ensure(ctx, "kernel", kernelName(v), func(dir string) error {
		return compileKernel(ctx, progress, v, dir)
	})
	if err != nil {
		return Kernel{}, err
	}
	image := filepath.Join(dir, "bzImage")
	release, err := bzImageRelease(image)
	return Kernel{Release: release, Image: image, Version: v.Version}, err
}

// compileKernel leaves bzImage, config and the kernel's selftest in dir and nothing else: the sources take 2 GB.
func compileKernel(ctx context.Context, progress io.Writer, v debVersion, dir string) (err error) {
	s, err := beginStep(progress, "kernel-"+kernelName(v), fmt.Sprintf("building the kernel of %s %s (8 min on 2 cores)", v.Package, v.Version))
	if err != nil {
		return err
	}
	defer s.end(&err)
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source, err := fetchSource(ctx, progress, s, v, work)
	if err != nil {
		return err
	}
	fragment := filepath.Join(work, "luo-vm.config")
	if err := os.WriteFile(fragment, []byte(kernelConfig), 0o644); err != nil {
		return err
	}
	out := filepath.Join(work, "out")
	kmake := func(args ...string) error {
		return s.run(ctx, source, "make", append([]string{"O=" + out, "ARCH=x86_64",
			// The same sources give the same image.
			"KBUILD_BUILD_TIMESTAMP=1970-01-01", "KBUILD_BUILD_USER=lab", "KBUILD_BUILD_HOST=luod"}, args...)...)
	}
	if err := kmake("KCONFIG_ALLCONFIG="+fragment, "allnoconfig"); err != nil {
		return err
	}
	config, err := os.ReadFile(filepath.Join(out, ".config"))
	if err != nil {
		return fmt.Errorf("read the kernel's configuration: %w", err)
	}
	if missing := missingOptions(string(config)); len(missing) > 0 {
		return fmt.Errorf("configure the kernel: these options did not come out as wanted: %s", strings.Join(missing, " "))
	}
	if err := kmake(fmt.Sprintf("-j%d", runtime.NumCPU()), "bzImage"); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "config"), config, 0o644); err != nil {
		return err
	}
	if err := compileSelftest(ctx, s, source, dir); err != nil {
		return err
	}
	return os.Rename(filepath.Join(out, "arch/x86/boot/bzImage"), filepath.Join(dir, "bzImage"))
}

func missingOptions(config string) []string {
	var missing []string
	for _, option := range needed {
		if !strings.Contains("\n"+config, "\n"+option+"\n") {
			missing = append(missing, option)
		}
	}
	return missing
}

// fetchSource downloads the source package and unpacks the tree that it holds, or of that what matches only.
func fetchSource(ctx context.Context, progress io.Writer, s *step, v debVersion, work string, only ...string) (string, error) {
	a, err := openAptRoot(ctx)
	if err != nil {
		return "", err
	}
	if err := a.refresh(ctx, progress, false); err != nil {
		fmt.Fprintf(progress, "lab: going on with older package lists: %v\n", err)
	}
	deb, err := a.download(ctx, s, work, v.Package, "="+v.Version)
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", fmt.Errorf("%w: %w", err, errGone)
	}
	unpacked := filepath.Join(work, "deb")
	if err := s.run(ctx, work, "dpkg-deb", "-x", deb, unpacked); err != nil {
		return "", err
	}
	tarball := filepath.Join(unpacked, "usr/src", v.Package+".tar.xz")
	args := []string{"--wildcards", "-xf", tarball}
	for _, path := range only {
		args = append(args, v.Package+"/"+path)
	}
	if err := s.run(ctx, work, "tar", args...); err != nil {
		return "", err
	}
	if err := errors.Join(os.RemoveAll(unpacked), os.Remove(deb)); err != nil {
		return "", fmt.Errorf("remove the unpacked package: %w", err)
	}
	return filepath.Join(work, v.Package), nil
}
