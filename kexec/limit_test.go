package kexec

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/liveupdate/luod/kexec/image/imagetest"
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

func TestAFileThatIsTouchedHasAnotherStamp(t *testing.T) {
	kernel, initrd := write(t, "vmlinuz", imagetest.BzImage("7.3.4", 20, elf)), write(t, "initrd", []byte("initrd"))
	stamp := func() string {
		t.Helper()
		s, err := Open(Target{Kernel: kernel, Initrds: []string{initrd}})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		stamp, err := s.Stamp()
		if err != nil {
			t.Fatal(err)
		}
		return stamp
	}
	was := stamp()
	if again := stamp(); again != was {
		t.Errorf("%q and %q of the same files", was, again)
	}
	if err := os.WriteFile(initrd, []byte("INITRD"), 0o600); err != nil {
		t.Fatal(err)
	}
	if again := stamp(); again == was {
		t.Error("a file that was written to has the same stamp")
	}
	was = stamp()
	if err := os.Rename(write(t, "other", []byte("INITRD")), initrd); err != nil {
		t.Fatal(err)
	}
	if again := stamp(); again == was {
		t.Error("another file has the same stamp")
	}
}
