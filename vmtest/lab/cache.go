package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// builderVersion is part of every key. Raise it when the same inputs shall give another artefact.
const builderVersion = "1"

// CacheDir is where the lab keeps what it builds. It need not exist yet.
func CacheDir() (string, error) {
	if dir := os.Getenv("LUOD_LAB_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the lab's cache directory (LUOD_LAB_CACHE names another): %w", err)
	}
	return filepath.Join(dir, "luod"), nil
}

// Clean removes the cache. Machines that run keep their open files.
func Clean() error {
	dir, err := CacheDir()
	if err != nil {
		return err
	}
	for _, part := range []string{"apt", "base", "boot", "dracut", "image", "kernel", "lock", "log", "selftest", "stock", resolutionFile} {
		if err := os.RemoveAll(filepath.Join(dir, part)); err != nil {
			return fmt.Errorf("clean the lab's cache: %w", err)
		}
	}
	return nil
}

// recipe collects an artefact's inputs and turns them into its key. Each part goes in with its length, so that two
// lists of parts never look the same.
type recipe struct{ sum [32]byte }

func newRecipe(kind string) *recipe {
	r := &recipe{}
	r.add("luod lab", builderVersion, kind)
	return r
}

func (r *recipe) add(parts ...string) {
	h := sha256.New()
	h.Write(r.sum[:])
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	h.Sum(r.sum[:0])
}

func (r *recipe) addFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return err
	}
	r.add(hex.EncodeToString(h.Sum(nil)))
	return nil
}

func (r *recipe) addKernel(k Kernel) error {
	r.add("kernel", k.Release)
	if err := r.addFile(k.Image); err != nil {
		return fmt.Errorf("identify kernel %s: %w", k.Release, err)
	}
	return nil
}

func (r *recipe) key() string { return hex.EncodeToString(r.sum[:8]) }

// ensure returns the directory kind/name of the cache and builds it first if it is not there: in a temporary directory
// beside it that gets its name only when build has succeeded.
func ensure(ctx context.Context, kind, name string, build func(dir string) error) (string, error) {
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	final := filepath.Join(cache, kind, name)
	if _, err := os.Stat(final); err == nil {
		return final, nil
	}
	unlock, err := lock(ctx, kind+"-"+name)
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(final); err == nil {
		return final, nil // another run has built it while we waited
	}
	temp := filepath.Join(cache, kind, ".building-"+name)
	if err := os.RemoveAll(temp); err != nil { // what a killed run has left; we hold the lock
		return "", fmt.Errorf("clear an unfinished build: %w", err)
	}
	if err := os.MkdirAll(temp, 0o755); err != nil {
		return "", fmt.Errorf("make a build directory: %w", err)
	}
	defer os.RemoveAll(temp)
	if err := build(temp); err != nil {
		return "", err
	}
	if err := os.Rename(temp, final); err != nil {
		return "", fmt.Errorf("put a build into the cache: %w", err)
	}
	return final, nil
}

// built tells whether the cache has kind/name.
func built(kind, name string) bool {
	cache, err := CacheDir()
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(cache, kind, name))
	return err == nil
}
