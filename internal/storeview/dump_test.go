package storeview

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/memfd"
)

func TestWhatIsCarried(t *testing.T) {
	for _, c := range []struct {
		s  Stored
		is bool
	}{
		{Stored{Memfd: true, Path: "/ (deleted)"}, true}, {Stored{Path: "anon_inode:[luo_session] x"}, true}, {Stored{Path: "socket:[12]"}, false}, {Stored{Path: "/var/log/x"}, false},
	} {
		if c.s.Carried() != c.is {
			t.Errorf("%+v: %t", c.s, !c.is)
		}
	}
}

func TestMemfdsAreOnOneDevice(t *testing.T) {
	device, err := memfd.Device()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.MemfdCreate("another", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Dev != device {
		t.Errorf("%x and %x, %v", st.Dev, device, err)
	}
}
