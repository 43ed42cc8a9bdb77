package source

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/kexec"
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
		target kexec.Target
		text   string
	}{
		{"a missing file", kexec.Target{Kernel: "/nonexistent"}, "no such file"},
		{"a directory", kexec.Target{Kernel: t.TempDir()}, "is a directory"},
		{"a FIFO", kexec.Target{Kernel: fifo}, "not a regular file"},
		{"a device", kexec.Target{Kernel: "/dev/zero"}, "not a regular file"},
		{"an empty file", kexec.Target{Kernel: write(t, "e", nil)}, "is empty"},
		{"a text", kexec.Target{Kernel: write(t, "t", []byte("hello"))}, "only 5 bytes"},
		{"a long text", kexec.Target{Kernel: write(t, "t", bytes.Repeat([]byte("x"), 5000))}, "neither the header"},
		{"a broken gzip file", kexec.Target{Kernel: write(t, "g", append([]byte{0x1f, 0x8b}, make([]byte, 4000)...))}, "gzip"},
		{"a sparse file", kexec.Target{Kernel: sparse}, "takes no file over"},
		{"a half-written image", kexec.Target{Kernel: write(t, "h", imagetest.BzImage("7", 20, elf)[:4000])}, "it is half written"},
		{"a long command line", kexec.Target{Kernel: good, CommandLine: strings.Repeat("x", 21)}, "at most 20"},
		{"a newline", kexec.Target{Kernel: good, CommandLine: "a\nb"}, "newline"},
		{"a missing initrd", kexec.Target{Kernel: good, Initrds: []string{"/nonexistent"}}, "initrd"},
		{"an empty initrd", kexec.Target{Kernel: good, Initrds: []string{write(t, "i", nil)}}, "is empty"},
		{"a profile", kexec.Target{Kernel: good, Profile: 1}, "no unified kernel image"},
	} {
		if err := load(c.target); err == nil || !strings.Contains(err.Error(), c.text) {
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
		if (i < 0) != (f == kexec.NoInitramfs) || line != "a b" {
			t.Errorf("initrd %d with flags %d and %q", i, f, line)
		}
		flags = append(flags, f)
		return nil
	}
	if err := errors.Join(load(kexec.Target{Kernel: kernel, CommandLine: "a b"}), load(kexec.Target{Kernel: kernel, Initrds: []string{initrd}, CommandLine: "a b"})); err != nil {
		t.Fatal(err)
	}
	if len(flags) != 2 {
		t.Fatalf("%d calls", len(flags))
	}
	fileLoad = func(int, int, string, int) error { return unix.EKEYREJECTED }
	var e *kexec.Error
	if err := load(kexec.Target{Kernel: kernel}); !errors.As(err, &e) || e.Path != kernel || e.Err != unix.EKEYREJECTED {
		t.Errorf("got %v", err)
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
		_ = load(kexec.Target{Kernel: good, Initrds: []string{initrd}})
		_ = load(kexec.Target{Kernel: good, Initrds: []string{"/nonexistent"}})
		_ = load(kexec.Target{Kernel: good, CommandLine: "\n"})
		_ = load(kexec.Target{Kernel: bad})
		_ = load(kexec.Target{Kernel: t.TempDir()})
		_ = load(kexec.Target{Kernel: good, Initrds: []string{initrd, initrd}})
		_ = load(kexec.Target{Kernel: unified})
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

// load opens and loads.
func load(t kexec.Target) error {
	s, err := Open(t)
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Load()
}
