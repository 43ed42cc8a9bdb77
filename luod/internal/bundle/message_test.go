package bundle

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/scmrights"
)

// longest is a name of n bytes of what, and no other has it.
func longest(what string, n, i int) string {
	tail := fmt.Sprintf("%04d", i)
	return strings.Repeat(what, (n-len(tail))/len(what)) + tail
}

// fillBundles adds all items to as many bundles as it takes and returns what was read
// back, with how many messages each bundle has.
func fillBundles(t *testing.T, items []Item) (names []string, messages []int) {
	t.Helper()
	for len(items) > 0 {
		b, r, err := New()
		if err != nil {
			t.Fatal(err)
		}
		count := 0
		for len(items) > 0 {
			n, err := b.Add(items)
			if errors.Is(err, ErrFull) && count > 0 {
				break
			}
			if err != nil || n < 1 {
				t.Fatalf("added %d: %v", n, err)
			}
			items = items[n:]
			count++
		}
		messages = append(messages, count)
		b.Close()
		got, err := Read(r)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range got {
			names = append(names, it.Owner+" "+it.Name)
			it.File.Close()
		}
		r.Close()
	}
	return names, messages
}

func TestTheLongestNamesCanBeReadAgain(t *testing.T) {
	r, w, err := os.Pipe() // start the runtime's own descriptors
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	f := memfd(t, "x")
	defer f.Close()
	for what, c := range map[string]struct {
		owner, name string
		length      int
	}{
		"short names":          {"a", "n", 8},
		"letters":              {"a", "n", 255},
		"quotes":               {"a", `"`, 255},
		"backslashes":          {`\`, `\`, 255},
		"less than":            {"<", "<", 255},
		"paths of directories": {`\`, "directory:/run/", 4095 + len("directory:")},
		"quotes in paths":      {`\`, `"`, 4095},
		"control characters":   {"\x01", "\x01", 4095},
	} {
		t.Run(what, func(t *testing.T) {
			before := openFDs(t)
			var items []Item
			var want []string
			for i := range scmrights.Max {
				it := Item{Owner: longest(c.owner, 255, 0), Name: longest(c.name, c.length, i), Serial: ^uint64(0) - uint64(i), File: f}
				items, want = append(items, it), append(want, it.Owner+" "+it.Name)
			}
			got, messages := fillBundles(t, items)
			if !slices.Equal(got, want) {
				t.Errorf("read %d items, want %d; in messages %v", len(got), len(want), messages)
			}
			if what == "short names" && !slices.Equal(messages, []int{1}) {
				t.Errorf("they are in messages %v", messages)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

func TestASmallBufferTakesFewerInAMessage(t *testing.T) {
	f := memfd(t, "x")
	defer f.Close()
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer b.Close()
	if err := unix.SetsockoptInt(int(b.w.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 8<<10); err != nil {
		t.Fatal(err)
	}
	var items []Item
	for i := range 200 {
		items = append(items, Item{Owner: "a.service", Name: longest("n", 255, i), File: f})
	}
	if err := b.AddWhole(items); !errors.Is(err, ErrManyMessages) {
		t.Errorf("all in one: %v", err)
	}
	n, err := b.Add(items)
	if err != nil || n < 10 || n >= 200 {
		t.Errorf("added %d: %v", n, err)
	}
	got, err := Read(r)
	if err != nil || len(got) != n {
		t.Errorf("read %d: %v", len(got), err)
	}
	for _, it := range got {
		it.File.Close()
	}
}

func TestWhatNeedsManyMessagesIsNotBegun(t *testing.T) {
	f := memfd(t, "x")
	defer f.Close()
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer b.Close()
	long, many := make([]Item, 100), make([]Item, scmrights.Max+1)
	for i := range long {
		long[i] = Item{Owner: "a.service", Name: longest("n", 4000, i), File: f}
	}
	for i := range many {
		many[i] = Item{Owner: "a.service", Name: fmt.Sprint(i), File: f}
	}
	for _, items := range [][]Item{long, many} {
		if err := b.AddWhole(items); !errors.Is(err, ErrManyMessages) {
			t.Errorf("got %v", err)
		}
	}
	if got, err := Read(r); err != nil || len(got) != 0 {
		t.Errorf("there is something of it: %d, %v", len(got), err)
	}
	if n, err := b.Add(nil); err == nil {
		t.Errorf("added %d of nothing", n)
	}
}

// What older luods wrote: all items in one go, however long their names are.
func TestOldBundlesCanBeRead(t *testing.T) {
	f := memfd(t, "old")
	defer f.Close()
	for what, c := range map[string]struct {
		count, length int
	}{
		"one":               {1, 10},
		"a full message":    {scmrights.Max, 20},
		"long names":        {scmrights.Max, 250}, // 70 kB
		"the longest there": {196, 1000},          // more than what the older could read
	} {
		b, r, err := New()
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			var items []Item
			var fds []int
			for i := range c.count {
				items, fds = append(items, Item{Owner: "a.service", Name: longest("n", c.length, i)}), append(fds, int(f.Fd()))
			}
			var text bytes.Buffer
			if err := json.NewEncoder(&text).Encode(items); err != nil {
				t.Fatal(err)
			}
			err := unix.Sendmsg(int(b.w.Fd()), text.Bytes(), unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT)
			if err == unix.EAGAIN {
				break // the second does not always fit
			}
			if err != nil {
				t.Fatalf("%s: %d bytes: %v", what, text.Len(), err)
			}
		}
		b.Close()
		got, err := Read(r)
		if err != nil || len(got) == 0 || len(got)%c.count != 0 {
			t.Errorf("%s: read %d items: %v", what, len(got), err)
		}
		for i, it := range got {
			if it.Name != longest("n", c.length, i%c.count) || content(t, it.File) != "old" {
				t.Fatalf("%s: item %d is %q", what, i, it.Name)
			}
			it.File.Close()
		}
		r.Close()
	}
}

func TestABundleThatNobodyHasSaysSo(t *testing.T) {
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	f := memfd(t, "x")
	defer f.Close()
	if _, err := b.Add([]Item{{Owner: "a.service", Name: "n", File: f}}); err != nil {
		t.Fatal(err)
	}
	copied, err := unix.Dup(int(r.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	if !b.Kept() {
		t.Error("somebody has it")
	}
	unix.Close(copied)
	if b.Kept() {
		t.Error("nobody has it")
	}
}

func TestADrainedBundleHasNothing(t *testing.T) {
	before := openFDs(t)
	b, r, err := New()
	if err != nil {
		t.Fatal(err)
	}
	p, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if _, err := b.Add([]Item{{Owner: "a.service", Name: "n", File: w}, {Owner: "a.service", Name: "m", File: w}}); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := Drain(r); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(r); err != nil || len(got) != 0 {
		t.Errorf("read %d: %v", len(got), err)
	}
	// The writing ends of the pipe are gone with what held them.
	poll := []unix.PollFd{{Fd: int32(p.Fd()), Events: unix.POLLIN}}
	if _, err := unix.Poll(poll, 1000); err != nil || poll[0].Revents&unix.POLLHUP == 0 {
		t.Errorf("somebody still has a drained descriptor: %#x, %v", poll[0].Revents, err)
	}
	p.Close()
	b.Close()
	if err := Drain(r); err != nil {
		t.Errorf("of an empty one: %v", err)
	}
	r.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
