package kexec

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/kexec/image/imagetest"
	"github.com/liveupdate/luod/kexec/pe/petest"
)

var elf = []byte("\x7fELF and more")

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestWhatIsNoKernelIsRefusedAndChangesNothing(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the images of this test are for amd64, and a kernel takes only its own kind")
	}
	called := false
	defer func(f func(int, int, string, int) error) { fileLoad = f }(fileLoad)
	fileLoad = func(int, int, string, int) error { called = true; return nil }
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	good := write(t, "vmlinuz", imagetest.BzImage("7.3.4", 20+31, elf))
	sparse := write(t, "sparse", nil)
	if err := os.Truncate(sparse, 4<<30); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what   string
		target Target
		text   string
	}{
		{"a missing file", Target{Kernel: "/nonexistent"}, "no such file"},
		{"a directory", Target{Kernel: t.TempDir()}, "is a directory"},
		{"a FIFO", Target{Kernel: fifo}, "not a regular file"},
		{"a device", Target{Kernel: "/dev/zero"}, "not a regular file"},
		{"an empty file", Target{Kernel: write(t, "e", nil)}, "is empty"},
		{"a text", Target{Kernel: write(t, "t", []byte("hello"))}, "only 5 bytes"},
		{"a long text", Target{Kernel: write(t, "t", bytes.Repeat([]byte("x"), 5000))}, "neither the header"},
		{"a broken gzip file", Target{Kernel: write(t, "g", append([]byte{0x1f, 0x8b}, make([]byte, 4000)...))}, "gzip"},
		{"a sparse file", Target{Kernel: sparse}, "takes no file over"},
		{"a half-written image", Target{Kernel: write(t, "h", imagetest.BzImage("7", 20, elf)[:4000])}, "it is half written"},
		{"a long command line", Target{Kernel: good, CommandLine: strings.Repeat("x", 21)}, "at most 20"},
		{"a newline", Target{Kernel: good, CommandLine: "a\nb"}, "newline"},
		{"a missing initrd", Target{Kernel: good, Initrds: []string{"/nonexistent"}}, "initrd"},
		{"an empty initrd", Target{Kernel: good, Initrds: []string{write(t, "i", nil)}}, "is empty"},
		{"a profile", Target{Kernel: good, Profile: 1}, "no unified kernel image"},
	} {
		if err := Load(c.target); err == nil || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: got %v, want %q", c.what, err, c.text)
		}
	}
	if called {
		t.Error("the kernel was asked to load one of them")
	}
}

func TestLoadPassesWhatItWasGiven(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the images of this test are for amd64, and a kernel takes only its own kind")
	}
	defer func(f func(int, int, string, int) error) { fileLoad = f }(fileLoad)
	kernel, initrd := write(t, "k", imagetest.BzImage("7", 2047, elf)), write(t, "i", []byte("initrd"))
	var flags []int
	fileLoad = func(k, i int, line string, f int) error {
		if (i < 0) != (f == flagNoInitramfs) || line != "a b" {
			t.Errorf("initrd %d with flags %d and %q", i, f, line)
		}
		flags = append(flags, f)
		return nil
	}
	if err := errors.Join(Load(Target{Kernel: kernel, CommandLine: "a b"}), Load(Target{Kernel: kernel, Initrds: []string{initrd}, CommandLine: "a b"})); err != nil {
		t.Fatal(err)
	}
	if len(flags) != 2 {
		t.Fatalf("%d calls", len(flags))
	}
	for errno, text := range meanings {
		fileLoad = func(int, int, string, int) error { return errno }
		if err := Load(Target{Kernel: kernel}); !errors.Is(err, errno) || !strings.Contains(err.Error(), text) {
			t.Errorf("%v: got %v", errno, err)
		}
	}
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLoadLeaksNothing(t *testing.T) {
	defer func(f func(int, int, string, int) error) { fileLoad = f }(fileLoad)
	good, initrd := write(t, "k", imagetest.BzImage("7", 2047, elf)), write(t, "i", []byte("initrd"))
	unified := write(t, "u", petest.Image(0x8664, petest.Section{Name: ".linux", Data: imagetest.BzImage("7", 2047, elf)}, petest.Section{Name: ".initrd", Data: []byte("x")}))
	bad := write(t, "b", bytes.Repeat([]byte("x"), 5000))
	before := openFDs(t)
	for _, errno := range []error{nil, unix.EBUSY} {
		fileLoad = func(int, int, string, int) error { return errno }
		_ = Load(Target{Kernel: good, Initrds: []string{initrd}})
		_ = Load(Target{Kernel: good, Initrds: []string{"/nonexistent"}})
		_ = Load(Target{Kernel: good, CommandLine: "\n"})
		_ = Load(Target{Kernel: bad})
		_ = Load(Target{Kernel: t.TempDir()})
		_ = Load(Target{Kernel: good, Initrds: []string{initrd, initrd}})
		_ = Load(Target{Kernel: unified})
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

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
