package storecopy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
)

func memfd(t *testing.T, text string) (*os.File, storeview.Stored) {
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
	return f, storeview.Stored{Name: text, Device: st.Dev, Inode: st.Ino, Memfd: true, Flags: flags(t, f)}
}

func flags(t *testing.T, f *os.File) uint32 {
	t.Helper()
	n, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	return uint32(n)
}

func inodes(entries ...storeview.Stored) map[uint64]bool {
	all := map[uint64]bool{}
	for _, e := range entries {
		all[e.Inode] = true
	}
	return all
}

func isMemfd(s storeview.Stored) bool { return s.Memfd }

// This process plays PID 1.
func TestCopies(t *testing.T) {
	a, one := memfd(t, "one")
	b, two := memfd(t, "two")
	defer a.Close()
	socket := storeview.Stored{Name: "socket", Path: "socket:[1]"}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	open, err := descriptors(os.Getpid(), inodes(one, two), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	list, err := copyStore(pidfd, open, []storeview.Stored{one, socket, two}, isMemfd, time.Second)
	if err != nil || len(list) != 2 || list[0].Name != "two" || list[1].Name != "one" {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, c := range list {
		text, err := io.ReadAll(io.NewSectionReader(c.F, 0, 100))
		if err != nil || string(text) != c.Name {
			t.Errorf("%s has %q, %v", c.Name, text, err)
		}
	}
	Close(list)
	// One is gone, and its number is another's: it is noticed, and nothing leaks.
	b.Close()
	other, _ := memfd(t, "other")
	defer other.Close()
	before, _ := os.ReadDir("/proc/self/fd")
	if _, err := copyStore(pidfd, open, []storeview.Stored{two, one}, isMemfd, time.Second); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
	if _, err := copyStore(pidfd, opened{}, []storeview.Stored{one}, isMemfd, time.Second); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
	if after, _ := os.ReadDir("/proc/self/fd"); len(after) != len(before) {
		t.Errorf("%d file descriptors before, %d after", len(before), len(after))
	}
}

// One memfd is in the store three times, through open file descriptions that differ
// in their flags or only in their positions.
func TestEachEntryGetsADescriptorOfItsOwn(t *testing.T) {
	a, first := memfd(t, "shared")
	defer a.Close()
	entries := []storeview.Stored{first}
	for i, mode := range []int{os.O_RDONLY, os.O_RDWR} {
		again, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", a.Fd()), mode, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if _, err := again.Seek(int64(i+1), io.SeekStart); err != nil {
			t.Fatal(err)
		}
		s := first
		s.Name, s.Flags = fmt.Sprint(i), flags(t, again)
		entries = append([]storeview.Stored{s}, entries...)
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pidfd)
	open, err := descriptors(os.Getpid(), inodes(first), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	list, err := copyStore(pidfd, open, entries, isMemfd, time.Second)
	if err != nil || len(list) != 3 {
		t.Fatalf("%+v, %v", list, err)
	}
	defer Close(list)
	for i, want := range []int64{6, 1, 2} {
		at, err := list[i].F.Seek(0, io.SeekCurrent)
		if err != nil || at != want || flags(t, list[i].F) != list[i].Flags || list[i].Others != 2 {
			t.Errorf("%s is at %d and not %d, with the flags %o and not %o, and there are %d others, %v", list[i].Name, at, want, flags(t, list[i].F), list[i].Flags, list[i].Others, err)
		}
	}
	// There is one entry more than descriptors: the store is another by now.
	if _, err := copyStore(pidfd, open, append(entries, first), isMemfd, time.Second); !errors.Is(err, errMoved) {
		t.Errorf("got %v", err)
	}
}
