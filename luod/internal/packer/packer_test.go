package packer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/vault"
)

func newMemfd(t *testing.T, size int64) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "memfd")
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// load makes a cargo of units with so many files each. The size of each file tells
// which it is.
func load(t *testing.T, counts ...int) Cargo {
	t.Helper()
	newMemfd(t, 0)
	c := Cargo{Manifest: manifest.Manifest{Generation: 3}, Now: time.Now}
	for i, n := range counts {
		u := Unit{Name: fmt.Sprintf("%d.service", i)}
		for j := range n {
			u.Files = append(u.Files, &vault.File{Unit: u.Name, Name: fmt.Sprint(j), F: newMemfd(t, int64(1000*i+j))})
		}
		c.Units = append(c.Units, u)
	}
	return c
}

// several has more than one packer work at a time, on whatever machine.
func several(t *testing.T) {
	before := runtime.GOMAXPROCS(4)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

func TestEachUnitIsPackedInItsOrder(t *testing.T) {
	several(t)
	counts := []int{3, 250, 0, 100, 101, 1, 7}
	k, store, cargo := luofake.New(), fakestore.New(), load(t, counts...)
	cargo.Units[2].Sessions = []manifest.Session{{Name: "own", Session: "luod.s.g3.1"}}
	p, err := Pack(context.Background(), k.LUO(), store, cargo)
	if err != nil {
		t.Fatal(err)
	}
	defer k.Settle()
	defer p.Close()
	if len(p.Manifest.Units) != len(counts) {
		t.Fatalf("%d units", len(p.Manifest.Units))
	}
	last := 0
	for i, u := range p.Manifest.Units {
		if u.Name != cargo.Units[i].Name || len(u.Files) != counts[i] || len(u.Sessions) != len(cargo.Units[i].Sessions) {
			t.Errorf("unit %d is %s with %d files and %d sessions", i, u.Name, len(u.Files), len(u.Sessions))
		}
		for j, f := range u.Files {
			if j%ShardSize == 0 {
				last++
			}
			want := manifest.File{Name: fmt.Sprint(j), Session: fmt.Sprintf("luod.g3.%d", last), Token: uint64(j%ShardSize) + 1, Size: int64(1000*i + j), Seals: f.Seals, Flags: f.Flags, Mode: f.Mode, UID: f.UID, GID: f.GID}
			if f != want {
				t.Fatalf("got %+v, want %+v", f, want)
			}
		}
	}
	out := k.Outgoing()
	if len(out) != last+1 || len(store.Names()) != last+1 {
		t.Errorf("%d sessions, and %d in the store, want %d", len(out), len(store.Names()), last+1)
	}
	for name, tokens := range out {
		if !slices.IsSorted(tokens) {
			t.Errorf("%s was filled in the order %v", name, tokens)
		}
	}
	if k.DeviceOpen() {
		t.Error("the device stayed open")
	}
}

func TestOneErrorTakesEverythingBack(t *testing.T) {
	several(t)
	for what, spoil := range map[string]struct {
		how func(k *luofake.Kernel, s *fakestore.Store, c Cargo)
		why string
	}{
		"a file that can't be preserved": {func(_ *luofake.Kernel, _ *fakestore.Store, c Cargo) {
			r, w, _ := os.Pipe()
			w.Close()
			t.Cleanup(func() { r.Close() })
			c.Units[5].Files[20].F = r
		}, `preserve "20" of 5.service`},
		"a session":          {func(k *luofake.Kernel, _ *fakestore.Store, _ Cargo) { k.FailNext(luofake.CreateSession, unix.ENOMEM) }, "create session"},
		"the fd store":       {func(_ *luofake.Kernel, s *fakestore.Store, _ Cargo) { s.FailNext(errors.New("PID 1 is busy")) }, "PID 1 is busy"},
		"the device":         {func(k *luofake.Kernel, _ *fakestore.Store, _ Cargo) { k.FailNextOpen(unix.EIO) }, "luod.g3.1"},
		"any file's session": {func(k *luofake.Kernel, _ *fakestore.Store, _ Cargo) { k.FailNext(luofake.PreserveFD, unix.ENOMEM) }, "out of memory"},
	} {
		t.Run(what, func(t *testing.T) {
			k, store, cargo := luofake.New(), fakestore.New(), load(t, 30, 30, 30, 30, 30, 30, 30, 130)
			spoil.how(k, store, cargo)
			before := openFDs(t)
			p, err := Pack(context.Background(), k.LUO(), store, cargo)
			if err == nil || p != nil || !strings.Contains(err.Error(), spoil.why) {
				t.Fatalf("got %v, want %q", err, spoil.why)
			}
			if out := k.Outgoing(); len(out) != 0 || len(store.Names()) != 0 {
				t.Errorf("preserved %v, in the store %v", out, store.Names())
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
			// And it can be tried again, since nothing is in a session.
			if what == "a file that can't be preserved" {
				return
			}
			p, err = Pack(context.Background(), k.LUO(), store, cargo)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
			k.Settle()
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after packing and taking it back", before, after)
			}
		})
	}
}

func TestNothingIsPackedAfterTheDeadline(t *testing.T) {
	k, store, cargo := luofake.New(), fakestore.New(), load(t, 3, 3)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("the admin took it back")
	cancel(why)
	if _, err := Pack(ctx, k.LUO(), store, cargo); !errors.Is(err, context.Canceled) && !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	if out := k.Outgoing(); len(out) != 0 || len(store.Names()) != 0 {
		t.Errorf("preserved %v, in the store %v", out, store.Names())
	}
}
