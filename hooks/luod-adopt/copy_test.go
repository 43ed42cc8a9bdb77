package main

import (
	"errors"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/fdstore"
)

func memfd(t *testing.T, text string) (*os.File, fdstore.Stored) {
	t.Helper()
	fd, err := unix.MemfdCreate(text, unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), text)
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	return f, fdstore.Stored{Name: text, Device: st.Dev, Inode: st.Ino, Memfd: true}
}

// This process plays PID 1.
func TestCopies(t *testing.T) {
	a, one := memfd(t, "one")
	b, two := memfd(t, "two")
	defer a.Close()
	socket := fdstore.Stored{Name: "socket", Path: "socket:[1]"}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	open, err := descriptors(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	names, files, err := copyStore(pidfd, open, []fdstore.Stored{one, socket, two})
	if err != nil || !slices.Equal(names, []string{"two", "one"}) {
		t.Fatalf("%q, %v", names, err)
	}
	for i, f := range files {
		text, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
		if err != nil || string(text) != names[i] {
			t.Errorf("%s has %q, %v", names[i], text, err)
		}
		f.Close()
	}
	// One is gone, and its number is another's: it is noticed, and nothing leaks.
	b.Close()
	other, _ := memfd(t, "other")
	defer other.Close()
	before, _ := os.ReadDir("/proc/self/fd")
	if _, _, err := copyStore(pidfd, open, []fdstore.Stored{two, one}); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
	if _, _, err := copyStore(pidfd, map[file]int{}, []fdstore.Stored{one}); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) != len(before) {
		t.Errorf("%d file descriptors before, %d after", len(before), len(after))
	}
}
