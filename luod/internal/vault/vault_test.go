package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

func newMemfd(t *testing.T, flags int) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|flags)
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "memfd")
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func names(v *Vault, unit string) []string {
	var out []string
	for _, f := range v.Files(unit) {
		out = append(out, f.Name)
	}
	return out
}

func TestWhatWasAddedIsThereAfterAKill(t *testing.T) {
	newMemfd(t, 0).Close()
	before := openFDs(t)
	ctx, store := context.Background(), fakestore.New()
	v := New(store, Limits{Files: 16384, Bytes: 1 << 60})
	var want []string
	for call := range 3 {
		var ns []string
		var fs []*os.File
		for i := range 300 {
			ns = append(ns, fmt.Sprintf("fd-%d-%d", call, i))
			fs = append(fs, newMemfd(t, 0))
		}
		if err := v.Add(ctx, "a.service", ns, fs); err != nil {
			t.Fatal(err)
		}
		want = append(want, ns...)
	}
	if err := v.Add(ctx, "b.service", []string{"fd-0-0"}, []*os.File{newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	v.Close() // what a kill does to the process's own descriptors

	v = New(store, Limits{Files: 16384, Bytes: 1 << 60})
	if err := v.Adopt(store.Listen()); err != nil {
		t.Fatal(err)
	}
	if got := names(v, "a.service"); !slices.Equal(got, want) {
		t.Fatalf("a.service has %d files, want %d in the same order", len(got), len(want))
	}
	if got := names(v, "b.service"); !slices.Equal(got, []string{"fd-0-0"}) {
		t.Fatalf("b.service has %v", got)
	}
	// A restarted daemon goes on: more in, some out, and again.
	if err := v.Add(ctx, "b.service", []string{"later"}, []*os.File{newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(ctx, "b.service", []string{"fd-0-0"}); err != nil {
		t.Fatal(err)
	}
	if err := v.Remove(ctx, "a.service", nil); err != nil {
		t.Fatal(err)
	}
	v.Close()
	v = New(store, Limits{Files: 16384, Bytes: 1 << 60})
	if err := v.Adopt(store.Listen()); err != nil {
		t.Fatal(err)
	}
	if got := v.Units(); !slices.Equal(got, []string{"b.service"}) || !slices.Equal(names(v, "b.service"), []string{"later"}) {
		t.Fatalf("units %v, b.service has %v", got, names(v, "b.service"))
	}
	v.Close()
	store.Close()
	if after := openFDs(t); after != before {
		t.Fatalf("%d file descriptors before, %d after", before, after)
	}
}

func TestRefusalsNameTheFileAndChangeNothing(t *testing.T) {
	ctx, store := context.Background(), fakestore.New()
	v := New(store, Limits{Files: 16384, Bytes: 1 << 60})
	taken, shared := newMemfd(t, 0), newMemfd(t, 0)
	if err := v.Add(ctx, "a.service", []string{"taken"}, []*os.File{taken}); err != nil {
		t.Fatal(err)
	}
	if err := v.Add(ctx, "b.service", []string{"x"}, []*os.File{shared}); err != nil {
		t.Fatal(err)
	}
	r, w, _ := os.Pipe()
	socket, _ := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	event, _ := unix.Eventfd(0, 0)
	regular, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	path, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", newMemfd(t, 0).Fd()), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := os.OpenFile("/", os.O_RDONLY|unix.O_DIRECTORY, 0) // else nothing but its file system knows
	null, _ := os.Open("/dev/null")
	same := newMemfd(t, 0)
	for _, c := range []struct {
		what   string
		names  []string
		files  []*os.File
		reason Reason
		text   string
	}{
		{"a pipe", []string{"n"}, []*os.File{r}, UnsupportedFile, "a pipe"},
		{"a socket", []string{"n"}, []*os.File{os.NewFile(uintptr(socket), "s")}, UnsupportedFile, "a socket"},
		{"an eventfd", []string{"n"}, []*os.File{os.NewFile(uintptr(event), "e")}, UnsupportedFile, "an eventfd"},
		{"a regular file", []string{"n"}, []*os.File{regular}, UnsupportedFile, "a file on a file system"},
		{"a directory", []string{"n"}, []*os.File{dir}, UnsupportedFile, "a directory"},
		{"a device", []string{"n"}, []*os.File{null}, UnsupportedFile, "a device"},
		{"an O_PATH descriptor", []string{"n"}, []*os.File{os.NewFile(uintptr(path), "p")}, UnsupportedFile, "O_PATH"},
		{"good and bad together", []string{"good", "bad"}, []*os.File{newMemfd(t, 0), w}, UnsupportedFile, "file descriptor 1 of the call (\"bad\")"},
		{"the same name in one call", []string{"n", "n"}, []*os.File{newMemfd(t, 0), newMemfd(t, 0)}, NameInUse, "twice"},
		{"the same name in two calls", []string{"taken"}, []*os.File{newMemfd(t, 0)}, NameInUse, "Release"},
		{"the same file in one call", []string{"n", "m"}, []*os.File{same, same}, FileInUse, "\"n\" and \"m\""},
		{"the same file in two calls", []string{"n"}, []*os.File{taken}, FileInUse, "\"taken\""},
		{"another unit's file", []string{"n"}, []*os.File{shared}, FileInUse, "another unit"},
		{"an empty name", []string{""}, []*os.File{newMemfd(t, 0)}, InvalidName, "empty"},
		{"a long name", []string{strings.Repeat("x", 256)}, []*os.File{newMemfd(t, 0)}, InvalidName, "256 bytes"},
		{"a name with NUL", []string{"a\x00b"}, []*os.File{newMemfd(t, 0)}, InvalidName, "byte 1"},
		{"a name with a newline", []string{"a\nb"}, []*os.File{newMemfd(t, 0)}, InvalidName, "byte 1"},
		{"a name with a colon", []string{"a:b"}, []*os.File{newMemfd(t, 0)}, InvalidName, "byte 1"},
		{"too few names", []string{}, []*os.File{newMemfd(t, 0)}, BadCount, "0 names"},
		{"nothing", nil, nil, BadCount, "no file descriptor"},
		{"too many", make([]string, 1025), make([]*os.File, 1025), TooMany, "at most 1024"},
	} {
		err := v.Add(ctx, "a.service", c.names, c.files)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Reason != c.reason || !strings.Contains(refusal.Text, c.text) {
			t.Errorf("%s: got %v, want %s with %q", c.what, err, c.reason, c.text)
		}
	}
	if strings.Contains(v.Add(ctx, "a.service", []string{"n"}, []*os.File{shared}).Error(), "b.service") {
		t.Error("a refusal tells one unit what another has")
	}
	if got := names(v, "a.service"); !slices.Equal(got, []string{"taken"}) {
		t.Errorf("a.service has %v after the refusals", got)
	}
}

func TestAHugetlbMemfdIsNamedAsSuch(t *testing.T) {
	fd, err := unix.MemfdCreate("huge", unix.MFD_CLOEXEC|unix.MFD_HUGETLB)
	if err != nil {
		t.Skipf("this kernel has no hugetlbfs: %v", err)
	}
	f := os.NewFile(uintptr(fd), "huge")
	defer f.Close()
	if _, err := Look(f); err == nil || !strings.Contains(err.Error(), "huge pages") {
		t.Fatalf("got %v", err)
	}
}

func TestAFailingStorePromisesNothing(t *testing.T) {
	ctx, store := context.Background(), fakestore.New()
	v := New(store, Limits{Files: 16384, Bytes: 1 << 60})
	f := newMemfd(t, 0)
	store.FailNext(errors.New("PID 1 is busy"))
	if err := v.Add(ctx, "a.service", []string{"n"}, []*os.File{f}); err == nil {
		t.Fatal("added without a store")
	}
	if len(v.Units()) != 0 || len(store.Names()) != 0 {
		t.Fatalf("units %v, store %v", v.Units(), store.Names())
	}
	if err := v.Add(ctx, "a.service", []string{"n"}, []*os.File{f}); err != nil {
		t.Fatalf("the second try: %v", err)
	}
}

func TestMovedFilesAreTheOthersAlsoAfterAKill(t *testing.T) {
	for range 2 { // what other tests dropped
		runtime.GC()
		time.Sleep(20 * time.Millisecond)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := openFDs(t)
	ctx, store := context.Background(), fakestore.New()
	limits := Limits{Files: 100, Bytes: 1 << 60}
	v := New(store, limits)
	if err := v.Add(ctx, "old.service", []string{"a", "b"}, []*os.File{newMemfd(t, 0), newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := v.Add(ctx, "other.service", []string{"a"}, []*os.File{newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		if got := names(v, "new.service"); !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("the new has %q", got)
		}
		if got := v.Units(); !slices.Equal(got, []string{"new.service", "other.service"}) {
			t.Fatalf("units are %q", got)
		}
	}
	// The kill comes after the other's bundle was written: both are in the store.
	full := store.Listen()
	if err := v.Move(ctx, "old.service", "new.service"); err != nil {
		t.Fatal(err)
	}
	check()
	v.Close()
	v = New(store, limits)
	if err := v.Adopt(append(full, store.Listen()...)); err != nil {
		t.Fatal(err)
	}
	if err := v.Move(ctx, "old.service", "new.service"); err != nil {
		t.Fatal(err)
	}
	check()
	f := v.Files("new.service")[0].F
	facts, err := Look(f)
	if holder := v.Holder(facts.inode); err != nil || holder == nil || holder.Unit != "new.service" {
		t.Errorf("a moved file is not known any more: %v, %v", holder, err)
	}
	if err := v.Remove(ctx, "new.service", nil); err != nil {
		t.Fatal(err)
	}
	v.Close()
	store.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
