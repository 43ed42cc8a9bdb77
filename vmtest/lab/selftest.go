package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// SelftestPath is where [Selftest] goes in an image.
const SelftestPath = "/usr/lib/luod-lab/selftest-liveupdate"

// ErrNoSource says that a kernel came from LUOD_LAB_KERNELS.
var ErrNoSource = errors.New("its source is not known")

// Selftest builds the kernel's own test of /dev/liveupdate (tools/testing/selftests/liveupdate) from the source package
// that the newer kernel was built from, as one static program for all images.
func Selftest(ctx context.Context, progress io.Writer, newer Kernel) (File, error) {
	if newer.Version == "" {
		return File{}, fmt.Errorf("build the selftest of kernel %s: %w", newer.Release, ErrNoSource)
	}
	r, err := resolve(ctx, progress, false)
	if err != nil {
		return File{}, err
	}
	v := r.Newer
	recipe := newRecipe("selftest")
	recipe.add(v.Package, v.Version)
	dir, err := ensure(ctx, "selftest", v.Version+"-"+recipe.key(), func(dir string) error {
		return compileSelftest(ctx, progress, v, dir)
	})
	return File{Path: SelftestPath, Mode: 0o755, Source: filepath.Join(dir, "liveupdate")}, err
}

func compileSelftest(ctx context.Context, progress io.Writer, v debVersion, dir string) (err error) {
	s, err := beginStep(progress, "selftest-"+v.Version, fmt.Sprintf("building the selftest of %s %s (1 min)", v.Package, v.Version))
	if err != nil {
		return err
	}
	defer s.end(&err)
	work := filepath.Join(dir, "work")
	if err := os.Mkdir(work, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(work)
	source, err := fetchSource(ctx, progress, s, v, work, "tools/testing/selftests/kselftest*.h", "tools/testing/selftests/liveupdate", "include/uapi/linux/liveupdate.h")
	if err != nil {
		return err
	}
	// The host's headers and this one, which they may be too old for.
	headers := filepath.Join(work, "include/linux")
	if err := os.MkdirAll(headers, 0o755); err != nil {
		return err
	}
	if err := os.Rename(filepath.Join(source, "include/uapi/linux/liveupdate.h"), filepath.Join(headers, "liveupdate.h")); err != nil {
		return err
	}
	return s.run(ctx, filepath.Join(source, "tools/testing/selftests/liveupdate"), "gcc", "-O2", "-static", "-s", "-D_GNU_SOURCE", "-Wl,--build-id=none",
		"-I"+filepath.Join(work, "include"), "-o", filepath.Join(dir, "liveupdate"), "liveupdate.c", "luo_test_utils.c")
}
