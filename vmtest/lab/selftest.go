package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// SelftestPath is where [Selftest] of a kernel goes in an image.
func SelftestPath(k Kernel) string { return "/usr/lib/luod-lab/" + selftestName + "-" + k.Release }

// selftestName is what a kernel's own tests of /dev/liveupdate are called in the cache.
const selftestName = "selftest-liveupdate"

// ErrNoSource says that a kernel came from LUOD_LAB_KERNELS.
var ErrNoSource = errors.New("its source is not known")

// Selftest returns a kernel's own tests of /dev/liveupdate (tools/testing/selftests/liveupdate), those that need no kexec, as
// a static program. It is built with the kernel; for one that was built without it, from the same source package.
func Selftest(ctx context.Context, progress io.Writer, k Kernel) (File, error) {
	f := File{Path: SelftestPath(k), Mode: 0o755, Source: filepath.Join(filepath.Dir(k.Image), selftestName)}
	if _, err := os.Stat(f.Source); err == nil {
		return f, nil
	}
	if k.Version == "" {
		return File{}, fmt.Errorf("build the selftest of kernel %s: %w", k.Release, ErrNoSource)
	}
	r, err := resolve(ctx, progress, false)
	if err != nil {
		return File{}, err
	}
	v := r.Older
	if v.Version != k.Version {
		v = r.Newer
	}
	recipe := newRecipe("selftest")
	recipe.add(v.Package, v.Version)
	dir, err := ensure(ctx, "selftest", v.Version+"-"+recipe.key(), func(dir string) error {
		return buildSelftest(ctx, progress, v, dir)
	})
	f.Source = filepath.Join(dir, selftestName)
	return f, err
}

func buildSelftest(ctx context.Context, progress io.Writer, v debVersion, dir string) (err error) {
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
	return compileSelftest(ctx, s, source, dir)
}

// compileSelftest leaves the program in dir.
func compileSelftest(ctx context.Context, s *step, source, dir string) error {
	// The host's headers and this one, which it may be too old for.
	headers := filepath.Join(dir, "headers")
	defer os.RemoveAll(headers)
	if err := os.MkdirAll(filepath.Join(headers, "linux"), 0o755); err != nil {
		return err
	}
	data, err := os.ReadFile(filepath.Join(source, "include/uapi/linux/liveupdate.h"))
	if err == nil {
		err = os.WriteFile(filepath.Join(headers, "linux/liveupdate.h"), data, 0o644)
	}
	if err != nil {
		return err
	}
	tests := filepath.Join(source, "tools/testing/selftests/liveupdate")
	args := []string{"-O2", "-static", "-s", "-D_GNU_SOURCE", "-Wl,--build-id=none", "-I" + headers, "-Ilib/include", "-o", filepath.Join(dir, selftestName), "liveupdate.c"}
	// What they have in common moved in 7.3.
	for _, pattern := range []string{"luo_test_utils.c", "lib/*.c"} {
		paths, err := filepath.Glob(filepath.Join(tests, pattern))
		if err != nil {
			return err
		}
		args = append(args, paths...)
	}
	return s.run(ctx, tests, "gcc", args...)
}
