package kexec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestLoadsAreCountedOnceAndALimitIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "limit")
	if _, err := countLoads(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a kernel that can't count: %v", err)
	}
	for _, c := range []struct {
		says string
		want int
	}{{"-1\n", plenty}, {"7\n", 7}, {"0\n", 0}} {
		if err := os.WriteFile(path, []byte(c.says), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if left, err := countLoads(path); err != nil || left != c.want {
				t.Errorf("%q: %d, %v, want %d", c.says, left, err, c.want)
			}
		}
	}
	if err := os.WriteFile(path, []byte("many\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadsLeft(path); err == nil {
		t.Error("nonsense is a number")
	}
}
