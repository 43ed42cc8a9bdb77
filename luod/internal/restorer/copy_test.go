package restorer

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/internal/manifest"
)

// Before the update only what is in a file is counted for its copy (memory.Need), and the
// kernel fills its holes.
func TestHolesTakeNoMemoryInACopy(t *testing.T) {
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) {
		t.Skip("this kernel has no MFD_NOEXEC_SEAL, which Linux 6.3 brought; those with LUO have it")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "f")
	defer f.Close()
	const size = 8 << 20
	if _, err := f.Write(make([]byte, size)); err != nil { // filled, as the kernel does
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("data"), size/2); err != nil {
		t.Fatal(err)
	}
	want := manifest.File{Size: size, Seals: unix.F_SEAL_EXEC, Mode: unix.S_IFREG | 0o666, UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
	for free, fits := range map[int64]bool{page: true, page - 1: false} {
		c := copier{room: func(bytes int64) error {
			if bytes > free {
				return errors.New("too much")
			}
			return nil
		}}
		fresh, err := c.copy(f, want)
		if (err == nil) != fits || err != nil && !errors.Is(err, errNoMemory) {
			t.Fatalf("%d bytes are free: %v", free, err)
		}
		if err != nil {
			continue
		}
		defer fresh.Close()
		var st unix.Stat_t
		if err := unix.Fstat(int(fresh.Fd()), &st); err != nil || st.Blocks*512 > page || st.Size != size {
			t.Errorf("the copy has %d bytes in %d blocks, %v", st.Size, st.Blocks, err)
		}
	}
}
