package kexec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestUnloadPassesTheFlagAndExplainsTheErrno(t *testing.T) {
	defer func(f func(int, int, string, int) error) { fileLoad = f }(fileLoad)
	fileLoad = func(k, i int, line string, flags int) error {
		if k != -1 || i != -1 || line != "" || flags != flagUnload {
			t.Errorf("kernel %d, initrd %d, %q, flags %d", k, i, line, flags)
		}
		return unix.EPERM
	}
	var e *Error
	if err := Unload(); !errors.As(err, &e) || e.Err != unix.EPERM || !strings.Contains(err.Error(), "CAP_SYS_BOOT") {
		t.Errorf("got %v", err)
	}
}

func TestLoadedReadsSysfs(t *testing.T) {
	for text, want := range map[string]bool{"0\n": false, "1\n": true} {
		if got, err := loaded(write(t, "loaded", []byte(text))); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if _, err := loaded("/nonexistent"); err == nil || !strings.Contains(err.Error(), "CONFIG_KEXEC_FILE") {
		t.Errorf("got %v", err)
	}
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestEveryErrnoIsExplained(t *testing.T) {
	for errno, text := range meanings {
		if err := NewError("kexec_file_load", "/k", errno); !errors.Is(err, errno) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), "/k") {
			t.Errorf("%v: got %v", errno, err)
		}
	}
}
