package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// stockMeta is the package that depends on Debian's newest kernel for virtual machines, which is the smallest.
const stockMeta = "linux-image-cloud-amd64"

func stockName() string {
	r := newRecipe("stock")
	r.add(string(Trixie), stockMeta)
	return string(Trixie) + "-" + r.key()
}

// stockKernel returns a directory with the files of the kernel that trixie itself comes with. As with [base], the version
// stays for as long as it is in the cache.
func stockKernel(ctx context.Context, progress io.Writer) (string, error) {
	dir, err := ensure(ctx, "stock", stockName(), func(dir string) error { return fetchStock(ctx, progress, dir) })
	return filepath.Join(dir, "root"), err
}

func fetchStock(ctx context.Context, progress io.Writer, dir string) (err error) {
	s, err := beginStep(progress, "stock-"+stockName(), "fetching Debian's own kernel")
	if err != nil {
		return err
	}
	defer s.end(&err)
	a, err := openAptRoot(ctx)
	if err != nil {
		return err
	}
	deb, err := a.downloadStock(ctx, progress, s, dir, false)
	if err != nil && ctx.Err() == nil { // the lists may name a version that the mirror does not have any more
		deb, err = a.downloadStock(ctx, progress, s, dir, true)
	}
	if err != nil {
		return err
	}
	if err := s.run(ctx, "", "dpkg-deb", "-x", deb, filepath.Join(dir, "root")); err != nil {
		return err
	}
	return os.Remove(deb)
}

func (a *aptRoot) downloadStock(ctx context.Context, progress io.Writer, s *step, dir string, again bool) (string, error) {
	if err := a.refresh(ctx, progress, again); err != nil {
		return "", err
	}
	out, err := output(ctx, "apt-cache", a.options("depends", "--important", stockMeta+"/"+string(Trixie))...)
	if err != nil {
		return "", err
	}
	name, err := parseStock(out)
	if err != nil {
		return "", err
	}
	return a.download(ctx, s, dir, name, "/"+string(Trixie))
}

// parseStock finds the kernel's package in what `apt-cache depends` says of stockMeta. Newer ones depend on packages for
// modules too.
func parseStock(out string) (string, error) {
	var found []string
	for line := range strings.Lines(out) {
		kind, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if kind == "Depends" && strings.HasPrefix(name, "linux-image-") && strings.HasSuffix(name, "-cloud-amd64") {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		return "", fmt.Errorf("find the kernel behind %s: its dependencies name %d: %q", stockMeta, len(found), found)
	}
	return found[0], nil
}
