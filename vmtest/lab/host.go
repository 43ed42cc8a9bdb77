package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// hostPackages are the Debian packages that building and running the machines takes.
var hostPackages = []string{
	"qemu-system-x86", "seabios", // the machine
	"debootstrap", "debian-archive-keyring", "e2fsprogs", // its disk
	"build-essential", "flex", "bison", "libelf-dev", "libssl-dev", "bc", "cpio", "xz-utils", "zstd", "kmod", // its kernels
	"dpkg-dev", "debhelper", // luod's .deb
	"dbus", "polkitd", // the daemon's own tests
}

// Need makes sure that this host can build and run machines, installing what is missing. It is quick when nothing is.
func Need(ctx context.Context, progress io.Writer) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("the VM lab runs on linux/amd64 only, this is %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	if _, err := exec.LookPath("dpkg-query"); err != nil {
		return fmt.Errorf("the VM lab builds with Debian's tools: %w", err)
	}
	missing := missingPackages(ctx)
	root := os.Geteuid() == 0
	switch {
	case !root && len(missing) > 0:
		return fmt.Errorf("the VM lab needs root (this is uid %d), and these packages are missing: %s",
			os.Geteuid(), strings.Join(missing, " "))
	case !root:
		return fmt.Errorf("the VM lab needs root to make root filesystems (this is uid %d)", os.Geteuid())
	case len(missing) == 0:
		return nil
	}
	return install(ctx, progress)
}

func missingPackages(ctx context.Context) []string {
	// The exit status is 1 when one is unknown, and then the others are listed all the same.
	out, _ := command(ctx, "dpkg-query",
		append([]string{"-W", "-f", "${Package} ${db:Status-Status}\n"}, hostPackages...)...).Output()
	have := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if name, status, _ := strings.Cut(strings.TrimSpace(line), " "); status == "installed" {
			have[name] = true
		}
	}
	var missing []string
	for _, name := range hostPackages {
		if !have[name] {
			missing = append(missing, name)
		}
	}
	return missing
}

func install(ctx context.Context, progress io.Writer) (err error) {
	unlock, err := lock(ctx, "host-packages")
	if err != nil {
		return err
	}
	defer unlock()
	missing := missingPackages(ctx)
	if len(missing) == 0 {
		return nil
	}
	s, err := beginStep(progress, "host-packages", "installing "+strings.Join(missing, " "))
	if err != nil {
		return err
	}
	defer s.end(&err)
	if err := s.run(ctx, "", "apt-get", "update"); err != nil {
		return err
	}
	return s.run(ctx, "", "apt-get", append([]string{"install", "-y", "--no-install-recommends",
		"-o", "DPkg::Lock::Timeout=300"}, missing...)...)
}
