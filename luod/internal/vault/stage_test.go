package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

// moment looks at what a kill would leave, each time PID 1 is told something.
type moment struct {
	*fakestore.Store
	look func(what string)
}

func (m *moment) Push(name string, files ...*os.File) error {
	m.look("before a push")
	defer m.look("after a push")
	return m.Store.Push(name, files...)
}

func (m *moment) Remove(name string) error {
	m.look("before a removal")
	defer m.look("after a removal")
	return m.Store.Remove(name)
}

func (m *moment) Barrier(ctx context.Context) error {
	m.look("before a wait")
	return m.Store.Barrier(ctx)
}

// left are the names that the next luod finds, of the unit.
func left(t *testing.T, store *fakestore.Store, unit string) []string {
	t.Helper()
	v := New(store, Limits{Files: 16384, Bytes: unlimited})
	defer v.Close()
	if err := v.Adopt(store.Listen()); err != nil {
		t.Error(err)
	}
	return names(v, unit)
}

func longNames(t *testing.T, unit string, n int, directories bool) Batch {
	b := Batch{Unit: unit}
	for i := range n {
		name := strings.Repeat(`"`, 128) + strings.Repeat(`\`, 123) + fmt.Sprintf("%04d", i)
		if directories {
			name = entryname.DirectoryName(fmt.Sprintf("/run/%04d/", i) + strings.Repeat("x", 4085))
		}
		b.Names, b.Files = append(b.Names, name), append(b.Files, newMemfd(t, 0))
	}
	return b
}

func TestABatchIsWholeOrNotAtAllAtEachKill(t *testing.T) {
	unit := strings.Repeat(`\x2d`, 61) + "abc.service"
	for what, b := range map[string]Batch{
		"short names":      batch(t, unit, 700),
		"the longest":      longNames(t, unit, 253, false),
		"many of those":    longNames(t, unit, 1000, false),
		"long directories": longNames(t, unit, 60, true),
	} {
		store := &moment{Store: fakestore.New(), look: func(string) {}}
		v := New(store, Limits{Files: 16384, Bytes: unlimited})
		// The unit has a bundle that takes more.
		if err := v.Add(context.Background(), unit, []string{"first"}, []*os.File{newMemfd(t, 0)}); err != nil {
			t.Fatal(err)
		}
		store.look = func(when string) {
			if got := left(t, store.Store, unit); len(got) != 1 && len(got) != 1+len(b.Names) {
				t.Errorf("%s: a kill %s leaves %d of %d", what, when, len(got)-1, len(b.Names))
			}
		}
		if err := v.AddAll(context.Background(), []Batch{b})[0]; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		want := append([]string{"first"}, b.Names...)
		if got := left(t, store.Store, unit); !slices.Equal(got, want) {
			t.Errorf("%s: a restart finds %d, want %d", what, len(got), len(want))
		}
		store.look = func(when string) {
			if got := left(t, store.Store, unit); !slices.Contains(got, "first") {
				t.Errorf("%s: a kill %s leaves nothing of what is kept", what, when)
			}
		}
		if err := v.Remove(context.Background(), unit, b.Names); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := left(t, store.Store, unit); !slices.Equal(got, []string{"first"}) {
			t.Errorf("%s: after a removal there are %d", what, len(got))
		}
		v.Close()
		store.Close()
	}
}

// broken fails as it is told, from some call on.
type broken struct {
	*fakestore.Store
	push, remove, barrier error
}

func (b *broken) Push(name string, files ...*os.File) error {
	if b.push != nil {
		return b.push
	}
	return b.Store.Push(name, files...)
}

func (b *broken) Remove(name string) error {
	if b.remove != nil {
		return b.remove
	}
	return b.Store.Remove(name)
}

func (b *broken) Barrier(ctx context.Context) error {
	if b.barrier != nil {
		return b.barrier
	}
	return b.Store.Barrier(ctx)
}

func TestNothingIsLeftOfABatchThatFailed(t *testing.T) {
	busy := errors.New("PID 1 is busy")
	for what, fail := range map[string]broken{
		"no push":                {push: busy},
		"no push and no removal": {push: busy, remove: busy},
		"no wait":                {barrier: busy},
		"no wait and no removal": {barrier: busy, remove: busy},
	} {
		for kind, make := range map[string]func() Batch{
			"short":   func() Batch { return batch(t, "a.service", 700) },
			"longest": func() Batch { return longNames(t, "a.service", 253, false) },
		} {
			store := fail
			store.Store = fakestore.New()
			ctx, f := context.Background(), store
			store.push, store.remove, store.barrier = nil, nil, nil
			v := New(&store, Limits{Files: 16384, Bytes: unlimited})
			if err := v.Add(ctx, "a.service", []string{"first"}, []*os.File{newMemfd(t, 0)}); err != nil {
				t.Fatal(err)
			}
			store.push, store.remove, store.barrier = f.push, f.remove, f.barrier
			b := make()
			if err := v.AddAll(ctx, []Batch{b})[0]; !errors.Is(err, busy) {
				t.Errorf("%s, %s: %v", what, kind, err)
			}
			if got := names(v, "a.service"); !slices.Equal(got, []string{"first"}) {
				t.Errorf("%s, %s: the unit has %d files", what, kind, len(got))
			}
			if got := left(t, store.Store, "a.service"); !slices.Equal(got, []string{"first"}) {
				t.Errorf("%s, %s: a restart finds %d files", what, kind, len(got))
			}
			// The files are the caller's, and the next try takes them; what was in
			// the way goes.
			store.push, store.remove, store.barrier = nil, nil, nil
			if err := v.AddAll(ctx, []Batch{b})[0]; err != nil {
				t.Errorf("%s, %s: the second try: %v", what, kind, err)
			}
			if got := store.Names(); len(slices.Compact(got)) != 2 {
				t.Errorf("%s, %s: in the store: %q", what, kind, got)
			}
			v.Close()
			store.Close()
		}
	}
}

// deaf says yes to everything, as PID 1 does when the store is full.
type deaf struct{ *fakestore.Store }

func (d deaf) Push(string, ...*os.File) error { return nil }

func TestWhatPID1ClosedIsNotPromised(t *testing.T) {
	newMemfd(t, 0).Close()
	before := openFDs(t)
	ctx, full := context.Background(), deaf{fakestore.New()}
	v := New(full, Limits{Files: 16384, Bytes: unlimited})
	b := batch(t, "a.service", 1)
	if err := v.Add(ctx, "a.service", b.Names, b.Files); err == nil || !strings.Contains(err.Error(), "FileDescriptorStoreMax") {
		t.Errorf("got %v", err)
	}
	v.Close()
	for _, f := range b.Files {
		f.Close() // still ours
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}
