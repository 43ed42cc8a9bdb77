package result

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestAResultReplacesTheOneBeforeAndLeavesNothingElse(t *testing.T) {
	dir := t.TempDir()
	f := File(filepath.Join(dir, "result"))
	for _, text := range []string{"first", "second"} {
		if err := f.Write(text); err != nil {
			t.Fatal(err)
		}
		if b, err := os.ReadFile(string(f)); err != nil || string(b) != text+"\n" {
			t.Errorf("read %q, %v", b, err)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
	for range 2 {
		if err := f.Clear(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(string(f)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("still there: %v", err)
		}
	}
	if err := File(filepath.Join(dir, "missing", "result")).Write("x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestWithoutAFileNothingIsWritten(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := errors.Join(File("").Clear(), File("").Write("x")); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir("."); err != nil || len(entries) != 0 {
		t.Errorf("the directory holds %v, %v", entries, err)
	}
}
