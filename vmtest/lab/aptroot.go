package lab

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	keyring = "/usr/share/keyrings/debian-archive-keyring.gpg"
	// listsAge is how old the package lists may get before they are fetched again.
	listsAge = 24 * time.Hour
)

// aptRoot is an apt of our own: it sees the suites that the lab takes packages from and leaves the machine's apt alone.
type aptRoot struct{ dir string }

func openAptRoot(ctx context.Context) (*aptRoot, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	a := &aptRoot{filepath.Join(cache, "apt")}
	for _, d := range []string{"state/lists/partial", "cache/archives/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("make the lab's apt root: %w", err)
		}
	}
	site, err := mirror(ctx)
	if err != nil {
		return nil, err
	}
	var list strings.Builder
	for _, suite := range []string{"trixie", "trixie-backports", "sid"} {
		fmt.Fprintf(&list, "deb [arch=amd64 signed-by=%s] %s %s main\n", keyring, site, suite)
	}
	for name, data := range map[string]string{"sources.list": list.String(), "status": ""} {
		if err := os.WriteFile(filepath.Join(a.dir, name), []byte(data), 0o644); err != nil {
			return nil, fmt.Errorf("make the lab's apt root: %w", err)
		}
	}
	return a, nil
}

// options is what makes an apt command use this root.
func (a *aptRoot) options(args ...string) []string {
	opts := []string{
		"-o", "Dir::State=" + filepath.Join(a.dir, "state"),
		"-o", "Dir::State::status=" + filepath.Join(a.dir, "status"),
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Dir::Etc::sourcelist=" + filepath.Join(a.dir, "sources.list"),
		"-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::Etc::preferencesparts=/dev/null",
		"-o", "APT::Sandbox::User=root", // the download directory is root's
		"-o", "APT::Architecture=amd64",
		"-o", "Acquire::Retries=3",
		"-o", "Acquire::Languages=none",
		"-o", "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
	}
	return append(opts, args...)
}

// refresh fetches the package lists unless they are young enough.
func (a *aptRoot) refresh(ctx context.Context, progress io.Writer, force bool) (err error) {
	stamp := filepath.Join(a.dir, "refreshed")
	if info, err := os.Stat(stamp); err == nil && time.Since(info.ModTime()) < listsAge && !force {
		return nil
	}
	s, err := beginStep(progress, "apt-lists", "fetching Debian's package lists")
	if err != nil {
		return err
	}
	defer s.end(&err)
	if err := s.run(ctx, "", "apt-get", a.options("update", "--error-on=any")...); err != nil {
		return err
	}
	return os.WriteFile(stamp, nil, 0o644)
}

// versions lists what the suites have of all packages whose names begin with prefix, as apt sorts it.
func (a *aptRoot) versions(ctx context.Context, prefix string) ([]debVersion, error) {
	names, err := output(ctx, "apt-cache", a.options("pkgnames", prefix)...)
	if err != nil {
		return nil, err
	}
	list := strings.Fields(names)
	if len(list) == 0 {
		return nil, fmt.Errorf("list Debian's %s* packages: there are none", prefix)
	}
	out, err := output(ctx, "apt-cache", a.options(append([]string{"madison"}, list...)...)...)
	if err != nil {
		return nil, err
	}
	return parseMadison(out), nil
}

// download fetches a package's file into dir and returns its path. which says what version: =VERSION or /SUITE.
func (a *aptRoot) download(ctx context.Context, s *step, dir, name, which string) (string, error) {
	if err := s.run(ctx, dir, "apt-get", a.options("download", name+which)...); err != nil {
		return "", fmt.Errorf("download %s%s: %w", name, which, err)
	}
	debs, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil || len(debs) != 1 {
		return "", fmt.Errorf("download %s%s: %d files came", name, which, len(debs))
	}
	return debs[0], nil
}

// debVersion is one version of one binary package.
type debVersion struct {
	Package string `json:"package"`
	Version string `json:"version"`
}

func parseMadison(out string) []debVersion {
	var all []debVersion
	for line := range strings.Lines(out) {
		f := strings.Split(line, "|")
		if len(f) == 3 {
			all = append(all, debVersion{strings.TrimSpace(f[0]), strings.TrimSpace(f[1])})
		}
	}
	return all
}
