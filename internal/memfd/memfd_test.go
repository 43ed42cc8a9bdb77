package memfd

import (
	"errors"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestASealedMemfdStaysAsItIs(t *testing.T) {
	f, err := Of("some", []byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, unix.EPERM) {
		t.Errorf("it can be written to: %v", err)
	}
	if err := f.Truncate(9); !errors.Is(err, unix.EPERM) {
		t.Errorf("it can grow: %v", err)
	}
	if err := Seal(f); !errors.Is(err, unix.EPERM) {
		t.Errorf("it can be sealed again: %v", err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, 9))
	if err != nil || string(data) != "text" {
		t.Errorf("%q, %v", data, err)
	}
	if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("it stays open on exec: %d, %v", flags, err)
	}
}

func TestEveryMemfdIsOnOneDevice(t *testing.T) {
	device, err := Device()
	if err != nil {
		t.Fatal(err)
	}
	f, err := New("another")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	other, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, c := range []struct {
		f    *os.File
		same bool
	}{{f, true}, {other, false}} {
		var st unix.Stat_t
		if err := unix.Fstat(int(c.f.Fd()), &st); err != nil || (st.Dev == device) != c.same {
			t.Errorf("%s is on %d, memfds on %d, %v", c.f.Name(), st.Dev, device, err)
		}
	}
}
