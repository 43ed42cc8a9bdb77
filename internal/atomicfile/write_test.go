package atomicfile

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAFileIsReplacedWholeOrNotAtAll(t *testing.T) {
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for name, write := range map[string]func(string, []byte, os.FileMode) error{"Write": Write, "WriteDurable": WriteDurable} {
		for _, content := range []string{"first", "", "second"} {
			if err := write(path, []byte(content), 0o644); err != nil {
				t.Fatal(name, err)
			}
			data, err := os.ReadFile(path)
			info, e := os.Stat(path)
			if err != nil || e != nil || string(data) != content || info.Mode() != 0o644 {
				t.Errorf("%s: %q, %v, %v, %v", name, data, info.Mode(), err, e)
			}
		}
		// A directory is in the way.
		if err := write(dir, nil, 0o600); err == nil {
			t.Errorf("%s: a directory was replaced", name)
		}
		if err := write(filepath.Join(dir, "none", "file"), nil, 0o600); err == nil {
			t.Errorf("%s: a directory was made", name)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}
