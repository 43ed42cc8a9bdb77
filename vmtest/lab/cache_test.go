package lab

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestRecipeTellsListsApart(t *testing.T) {
	a, b := newRecipe("x"), newRecipe("x")
	a.add("ab", "c")
	b.add("a", "bc")
	if a.key() == b.key() {
		t.Error("two lists of inputs have one key")
	}
}

func TestEnsureBuildsOnce(t *testing.T) {
	t.Setenv("LUOD_LAB_CACHE", t.TempDir())
	var builds atomic.Int32
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			dir, err := ensure(t.Context(), "thing", "a", func(dir string) error {
				builds.Add(1)
				time.Sleep(50 * time.Millisecond)
				return os.WriteFile(filepath.Join(dir, "made"), nil, 0o644)
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(dir, "made")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := builds.Load(); n != 1 {
		t.Errorf("it was built %d times", n)
	}
}

func TestEnsureKeepsNothingOfAFailedBuild(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("LUOD_LAB_CACHE", cache)
	broken := errors.New("broken")
	if _, err := ensure(t.Context(), "thing", "a", func(string) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	left, _ := os.ReadDir(filepath.Join(cache, "thing"))
	if len(left) != 0 {
		t.Errorf("it left %v", left)
	}
}

func TestLockWaitsNoLongerThanItsContext(t *testing.T) {
	t.Setenv("LUOD_LAB_CACHE", t.TempDir())
	unlock, err := lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := lock(ctx, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestCollectKeepsTheNewestAndTheHeld(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("LUOD_LAB_CACHE", cache)
	paths := map[string]string{}
	for i, name := range []string{"a", "b", "c", "d", "e", "f", "entries"} { // oldest first
		dir := filepath.Join(cache, "image", "sid-"+name)
		if name == "entries" { // another kind
			dir = filepath.Join(cache, "image", "entries-sid-a")
		}
		paths[name] = dir
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "root.img"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(time.Duration(i-10) * time.Minute)
		if err := os.Chtimes(dir, when, when); err != nil {
			t.Fatal(err)
		}
	}
	held, err := Image{Path: filepath.Join(paths["a"], "root.img")}.Hold()
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if err := collect(Spec{Suite: Sid}.kind()); err != nil {
		t.Fatal(err)
	}
	for name, dir := range paths {
		_, err := os.Stat(dir)
		if kept := err == nil; kept != (name != "b") {
			t.Errorf("image %s: kept: %v", name, kept)
		}
	}
}
