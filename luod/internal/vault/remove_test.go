package vault

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

// halfway fails to remove some entries; which are they is up to no.
type halfway struct {
	*fakestore.Store
	no func(name string) bool
}

var errBusy = errors.New("PID 1 is busy")

func (h *halfway) Remove(name string) error {
	if h.no != nil && h.no(name) {
		return errBusy
	}
	return h.Store.Remove(name)
}

// inThree makes a vault in which a.service has three files in three entries, as after
// as many restarts.
func inThree(t *testing.T) (*Vault, *halfway) {
	t.Helper()
	store := &halfway{Store: fakestore.New()}
	for _, name := range []string{"one", "two", "three"} {
		v := New(store, Limits{Files: 100, Bytes: unlimited})
		if err := v.Adopt(store.Listen()); err != nil {
			t.Fatal(err)
		}
		if err := v.Add(context.Background(), "a.service", []string{name}, []*os.File{newMemfd(t, 0)}); err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	v := New(store, Limits{Files: 100, Bytes: unlimited})
	if err := v.Adopt(store.Listen()); err != nil {
		t.Fatal(err)
	}
	if len(store.Names()) != 3 {
		t.Fatalf("in the store: %q", store.Names())
	}
	return v, store
}

func TestARemovalThatPID1RefusesHalfWayCostsNothing(t *testing.T) {
	for what, no := range map[string]func(string) bool{
		"the first":  func(name string) bool { return name == "bundle-1" },
		"the second": func(name string) bool { return name == "bundle-2" },
		"the last":   func(name string) bool { return name == "bundle-3" },
		"all":        func(string) bool { return true },
	} {
		for _, end := range []string{"add", "remove", "move", "kill"} {
			ctx := context.Background()
			v, store := inThree(t)
			store.no = no
			if err := v.Remove(ctx, "a.service", []string{"two"}); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if got := names(v, "a.service"); !slices.Equal(got, []string{"one", "three"}) {
				t.Errorf("%s: the unit has %q", what, got)
			}
			// Everything that is held is also in a bundle.
			if got := left(t, store.Store, "a.service"); !slices.Contains(got, "one") || !slices.Contains(got, "three") {
				t.Errorf("%s: a restart finds %q", what, got)
			}
			store.no = nil
			want := 1
			var err error
			switch end {
			case "add":
				err = v.Add(ctx, "b.service", []string{"x"}, []*os.File{newMemfd(t, 0)})
				want = 2
			case "remove":
				err = v.Remove(ctx, "a.service", []string{"one"})
			case "move":
				err = v.Move(ctx, "none.service", "b.service")
			case "kill":
				v.Close()
				v = New(store, Limits{Files: 100, Bytes: unlimited})
				if err := v.Adopt(store.Listen()); err != nil {
					t.Fatal(err)
				}
				err = v.Remove(ctx, "a.service", []string{"one"})
			}
			if err != nil {
				t.Errorf("%s, then %s: %v", what, end, err)
			}
			// What was left behind is gone at the next occasion.
			if got := store.Names(); len(got) != want {
				t.Errorf("%s, then %s: in the store: %q", what, end, got)
			}
			if got := left(t, store.Store, "a.service"); !slices.Contains(got, "three") || end != "kill" && slices.Contains(got, "two") {
				t.Errorf("%s, then %s: a restart finds %q", what, end, got)
			}
			v.Close()
			store.Close()
		}
	}
}

func TestAMoveThatPID1RefusesHalfWayCostsNothing(t *testing.T) {
	ctx := context.Background()
	for what, no := range map[string]func(string) bool{
		"the first": func(name string) bool { return name == "bundle-1" },
		"the last":  func(name string) bool { return name == "bundle-3" },
		"all":       func(string) bool { return true },
	} {
		v, store := inThree(t)
		store.no = no
		if err := v.Move(ctx, "a.service", "b.service"); !errors.Is(err, errBusy) || len(v.Files("a.service")) != 0 {
			t.Errorf("%s: %v, and the one has %q", what, err, names(v, "a.service"))
		}
		if got := names(v, "b.service"); !slices.Equal(got, []string{"one", "two", "three"}) {
			t.Errorf("%s: the other has %q", what, got)
		}
		if got := left(t, store.Store, "b.service"); !slices.Equal(got, []string{"one", "two", "three"}) {
			t.Errorf("%s: a restart finds %q", what, got)
		}
		store.no = nil
		if err := v.Remove(ctx, "b.service", []string{"two"}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got := store.Names(); len(got) != 1 {
			t.Errorf("%s: in the store: %q", what, got)
		}
		v.Close()
		store.Close()
	}
}

// What a killed luod could not have removed any more, the next one does.
func TestAnEmptyBundleGoesAway(t *testing.T) {
	ctx, store := context.Background(), &broken{Store: fakestore.New()}
	defer store.Close()
	v := New(store, Limits{Files: 100, Bytes: unlimited})
	store.barrier, store.remove = errBusy, errBusy
	if err := v.Add(ctx, "a.service", []string{"x"}, []*os.File{newMemfd(t, 0)}); !errors.Is(err, errBusy) {
		t.Fatal(err)
	}
	v.Close()
	store.barrier, store.remove = nil, nil
	if len(store.Names()) != 1 {
		t.Fatalf("in the store: %q", store.Names())
	}
	v = New(store, Limits{Files: 100, Bytes: unlimited})
	defer v.Close()
	if err := v.Adopt(store.Listen()); err != nil || len(v.Units()) != 0 {
		t.Fatal(err, v.Units())
	}
	if err := v.Add(ctx, "a.service", []string{"x"}, []*os.File{newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	if got := store.Names(); !slices.Equal(got, []string{"bundle-2"}) {
		t.Errorf("in the store: %q", got)
	}
}

// An entry that can't be read stays where it is, whatever becomes of the others.
func TestAnUnreadableBundleStays(t *testing.T) {
	ctx := context.Background()
	v, store := inThree(t)
	v.Close()
	r, w, err := os.Pipe() // it is no socket
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Push("bundle-3", r); err != nil {
		t.Fatal(err)
	}
	r.Close()
	w.Close()
	v = New(store, Limits{Files: 100, Bytes: unlimited})
	if err := v.Adopt(store.Listen()); err == nil {
		t.Error("it was read")
	}
	if err := v.Remove(ctx, "a.service", nil); err != nil {
		t.Error(err)
	}
	if got := store.Names(); !slices.Equal(slices.Compact(got), []string{"bundle-3"}) {
		t.Errorf("in the store: %q", got)
	}
	v.Close()
	store.Close()
}
