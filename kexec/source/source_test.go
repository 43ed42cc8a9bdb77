package source

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image/imagetest"
	"github.com/liveupdate/luod/kexec/pe/petest"
)

// loading records what kexec_file_load would have read, as the kernel reads it: it
// refuses a file that somebody may write to.
func loading(t *testing.T, target kexec.Target) (kernel, initrd string) {
	t.Helper()
	defer func(f func(int, int, string, int) error) { fileLoad = f }(fileLoad)
	read := func(fd int) string {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDONLY {
			t.Errorf("descriptor %d is open with %#x, %v", fd, flags, err)
		}
		text, err := io.ReadAll(io.NewSectionReader(fileOf(fd), 0, 1<<30))
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	fileLoad = func(k, i int, _ string, flags int) error {
		kernel = read(k)
		if flags&kexec.NoInitramfs == 0 {
			initrd = read(i)
		}
		return nil
	}
	if err := load(target); err != nil {
		t.Fatal(err)
	}
	return kernel, initrd
}

// fileOf reads a descriptor without owning it.
type fileOf int

func (f fileOf) ReadAt(b []byte, at int64) (int, error) {
	n, err := unix.Pread(int(f), b, at)
	if err == nil && n < len(b) {
		err = io.EOF
	}
	return n, err
}

func TestTheKernelGetsItsPartsPutTogether(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the images of this test are for amd64, and a kernel takes only its own kind")
	}
	image := imagetest.BzImage("7", 2047, elf)
	unified := write(t, "u.efi", petest.Image(0x8664,
		petest.Section{Name: ".initrd", Data: []byte("initrd")}, petest.Section{Name: ".ucode", Data: []byte("micro")},
		petest.Section{Name: ".linux", Data: image}, petest.Section{Name: ".profile", Data: []byte("ID=a")},
		petest.Section{Name: ".profile", Data: []byte("ID=b")}, petest.Section{Name: ".initrd", Data: []byte("other")}))
	plain, one, two := write(t, "k", image), write(t, "1", []byte("12345")), write(t, "2", []byte("678"))
	for what, c := range map[string]struct {
		target kexec.Target
		initrd string
	}{
		"no initrd":             {kexec.Target{Kernel: plain}, ""},
		"one":                   {kexec.Target{Kernel: plain, Initrds: []string{one}}, "12345"},
		"two":                   {kexec.Target{Kernel: plain, Initrds: []string{one, two}}, "12345\x00\x00\x00678\x00"},
		"a unified image's own": {kexec.Target{Kernel: unified}, "micro\x00\x00\x00initrd\x00\x00"},
		"those of its profile":  {kexec.Target{Kernel: unified, Profile: 1}, "micro\x00\x00\x00other\x00\x00\x00"},
		"and one more":          {kexec.Target{Kernel: unified, Initrds: []string{two}}, "micro\x00\x00\x00initrd\x00\x00678\x00"},
	} {
		kernel, initrd := loading(t, c.target)
		if kernel != string(image) || initrd != c.initrd {
			t.Errorf("%s: a kernel of %d bytes, initrd %q, want %q", what, len(kernel), initrd, c.initrd)
		}
	}
	if err := load(kexec.Target{Kernel: unified, Profile: 2}); err == nil || !strings.Contains(err.Error(), "no profile 2") {
		t.Errorf("a third profile: %v", err)
	}
}

func TestPackedArm64KernelsAreUnpacked(t *testing.T) {
	bare := bytes.Repeat([]byte("no two lines alike 0123456789"), 200)
	for i := range bare {
		bare[i] ^= byte(i * i >> 3)
	}
	copy(bare[0x38:], "ARM\x64")
	packed := imagetest.Gzip(bare)
	zboot := make([]byte, 64)
	copy(zboot, "MZ\x00\x00zimg")
	binary.LittleEndian.PutUint32(zboot[8:], 64)
	binary.LittleEndian.PutUint32(zboot[12:], uint32(len(packed)))
	copy(zboot[0x18:], "gzip")
	for name, data := range map[string][]byte{"Image": bare, "Image.gz": packed, "vmlinuz.efi": append(zboot, packed...)} {
		s, err := Open(kexec.Target{Kernel: write(t, name, data)})
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.kernelFile()
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
		if err != nil || !bytes.Equal(got, bare) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		s.Close()
	}
}

func TestADigestTellsPartsApart(t *testing.T) {
	image := imagetest.BzImage("7", 2047, elf)
	kernel := write(t, "k", image)
	seen := map[string]string{}
	for what, initrds := range map[string][]string{
		"none": nil, "ab": {write(t, "a", []byte("ab"))}, "a and b": {write(t, "a", []byte("a")), write(t, "b", []byte("b"))},
		"b and a": {write(t, "b", []byte("b")), write(t, "a", []byte("a"))},
	} {
		s, err := Open(kexec.Target{Kernel: kernel, Initrds: initrds})
		if err != nil {
			t.Fatal(err)
		}
		digest, err := s.Digest()
		again, _ := s.Digest()
		s.Close()
		if err != nil || len(digest) != 64 || again != digest {
			t.Errorf("%s: %q, then %q, %v", what, digest, again, err)
		}
		if other, is := seen[digest]; is {
			t.Errorf("%s and %s have the same digest", what, other)
		}
		seen[digest] = what
	}
}

func TestAFileThatIsTouchedHasAnotherStamp(t *testing.T) {
	kernel, initrd := write(t, "vmlinuz", imagetest.BzImage("7.3.4", 20, elf)), write(t, "initrd", []byte("initrd"))
	stamp := func() string {
		t.Helper()
		s, err := Open(kexec.Target{Kernel: kernel, Initrds: []string{initrd}})
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
