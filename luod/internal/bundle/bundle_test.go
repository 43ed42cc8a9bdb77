package bundle

import (
	"errors"
	"fmt"
	"io"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func memfd(t *testing.T, content string) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	if _, err := f.WriteString(content); err != nil {
		t.Fatal(err)
	}
	return f
}

func content(t *testing.T, f *os.File) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestABundleKeepsWhatItsDeadWriterQueued(t *testing.T) {
	memfd(t, "").Close() // start the runtime's own descriptors
	before := openFDs(t)
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	const messages, each = 5, 200
	for m := range messages {
		var items []Item
		for i := range each {
			items = append(items, Item{Owner: "a.service", Name: fmt.Sprintf("fd-%d-%d", m, i), Serial: uint64(m*each + i), File: memfd(t, fmt.Sprint(m, i))})
		}
		if n, err := b.Add(items); err != nil || n != each {
			t.Fatal(n, err)
		}
		for _, it := range items {
			it.File.Close()
		}
	}
	b.Close()
	for range 2 { // reading must not empty it
		got, err := Read(r)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != messages*each {
			t.Fatalf("read %d items, want %d", len(got), messages*each)
		}
		for n, it := range got {
			m, i := n/each, n%each
			if it.Name != fmt.Sprintf("fd-%d-%d", m, i) || content(t, it.File) != fmt.Sprint(m, i) {
				t.Fatalf("item %d is %q with %q", n, it.Name, content(t, it.File))
			}
			it.File.Close()
		}
	}
	r.Close()
	if after := openFDs(t); after != before {
		t.Fatalf("%d file descriptors before, %d after", before, after)
	}
}

func TestAFullBundleRefusesAndKeepsWhatItHas(t *testing.T) {
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer b.Close()
	f := memfd(t, "x")
	defer f.Close()
	added := 0
	for ; added < 100000; added++ {
		if _, err = b.Add([]Item{{Owner: "a.service", Name: "n", File: f}}); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v after %d, want ErrFull", err, added)
	}
	items, err := Read(r)
	if err != nil || len(items) != added {
		t.Fatalf("read %d items (%v), want %d", len(items), err, added)
	}
	for _, it := range items {
		it.File.Close()
	}
}
