package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	resolutionFile = "kernels.json"
	// resolutionAge is how long a choice of kernels is good though they are not built yet. Built ones stay for as long
	// as they are in the cache: the tests shall not rebuild kernels each time Debian has a new one.
	resolutionAge = 14 * 24 * time.Hour
)

// resolution says which two kernel source packages the lab has settled on.
type resolution struct {
	Resolved time.Time  `json:"resolved"`
	Older    debVersion `json:"older"`
	Newer    debVersion `json:"newer"`
}

// resolve returns the kept choice while it is good, and makes a new one otherwise.
func resolve(ctx context.Context, progress io.Writer, again bool) (resolution, error) {
	unlock, err := lock(ctx, "kernel-resolution")
	if err != nil {
		return resolution{}, err
	}
	defer unlock()
	kept, keptErr := loadResolution()
	if keptErr == nil && !again {
		both := built("kernel", kernelName(kept.Older)) && built("kernel", kernelName(kept.Newer))
		if both || time.Since(kept.Resolved) < resolutionAge {
			return kept, nil
		}
	}
	fresh, err := resolveAfresh(ctx, progress, again)
	if err != nil && keptErr == nil {
		fmt.Fprintf(progress, "lab: using the kernel versions of %s: %v\n", kept.Resolved.Format(time.DateOnly), err)
		return kept, nil
	}
	return fresh, err
}

func resolveAfresh(ctx context.Context, progress io.Writer, force bool) (resolution, error) {
	a, err := openAptRoot(ctx)
	if err != nil {
		return resolution{}, err
	}
	if err := a.refresh(ctx, progress, force); err != nil {
		return resolution{}, err
	}
	all, err := a.versions(ctx, "linux-source-")
	if err != nil {
		return resolution{}, err
	}
	r := resolution{Resolved: time.Now().UTC()}
	if r.Older, r.Newer, err = chooseKernels(all); err != nil {
		return resolution{}, err
	}
	return r, saveResolution(r)
}

func resolutionPath() (string, error) {
	cache, err := CacheDir()
	return filepath.Join(cache, resolutionFile), err
}

func loadResolution() (r resolution, err error) {
	path, err := resolutionPath()
	if err != nil {
		return r, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return r, fmt.Errorf("read %s: %w", path, err)
	}
	if r.Older.Package == "" || r.Newer.Package == "" {
		return r, fmt.Errorf("read %s: it names no packages", path)
	}
	return r, nil
}

func saveResolution(r resolution) error {
	path, err := resolutionPath()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("keep the choice of kernels: %w", err)
	}
	return os.Rename(path+".new", path)
}

// upstream is a kernel's version without what Debian adds.
type upstream [3]int

// oldest is the first series worth a try: before it the kernel's handover format was another.
var oldest = upstream{7, 0, 0}

func parseUpstream(version string) (u upstream, ok bool) {
	head, _, _ := strings.Cut(version, "-")
	head, _, _ = strings.Cut(head, "~") // a release candidate: 7.4~rc2
	for i, part := range strings.SplitN(head, ".", 3) {
		n, err := strconv.Atoi(part)
		if err != nil {
			return u, false
		}
		u[i] = n
	}
	return u, true
}

func (u upstream) series() [2]int { return [2]int{u[0], u[1]} }

func (u upstream) compare(v upstream) int { return slices.Compare(u[:], v[:]) }

// chooseKernels picks the newest kernel and the newest of another series, or for want of one an older patch version.
// Of packages with the same upstream version the first in the list wins.
func chooseKernels(all []debVersion) (older, newer debVersion, err error) {
	type candidate struct {
		debVersion
		upstream
	}
	var list []candidate
	for _, v := range all {
		u, ok := parseUpstream(v.Version)
		want := fmt.Sprintf("linux-source-%d.%d", u[0], u[1])
		if ok && v.Package == want && u.compare(oldest) >= 0 {
			list = append(list, candidate{v, u})
		}
	}
	if len(list) == 0 {
		return older, newer, errors.New("choose kernels: Debian has no linux-source-X.Y of 7.0 or newer")
	}
	slices.SortStableFunc(list, func(a, b candidate) int { return -cmp.Compare(a.compare(b.upstream), 0) })
	newest := list[0]
	for _, c := range list[1:] {
		if c.series() != newest.series() {
			return c.debVersion, newest.debVersion, nil
		}
	}
	for _, c := range list[1:] {
		if c.upstream != newest.upstream {
			return c.debVersion, newest.debVersion, nil
		}
	}
	return older, newer, fmt.Errorf("choose kernels: a live update needs two, and Debian has only %s", newest.Version)
}
