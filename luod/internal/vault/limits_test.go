package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

// What comes back from an update is kept, whatever the limits are now.
func TestNoLimitCostsAUnitWhatComesBack(t *testing.T) {
	for what, limits := range map[string]Limits{
		"one file":             {Files: 1, Bytes: unlimited},
		"fewer bytes":          {Files: 16384, Bytes: 99},
		"fewer bytes and file": {Files: 1, Bytes: 1},
	} {
		ctx, store := context.Background(), fakestore.New()
		v := New(store, limits)
		grown := newMemfd(t, 0)
		if err := grown.Truncate(60); err != nil {
			t.Fatal(err)
		}
		other := newMemfd(t, 0)
		if err := other.Truncate(40); err != nil {
			t.Fatal(err)
		}
		back := Batch{"a.service", []string{"grown", "other"}, []*os.File{grown, other}}
		var refusal *Refusal
		if err := v.AddAll(ctx, []Batch{back})[0]; !errors.As(err, &refusal) || refusal.Reason != TooMany {
			t.Errorf("%s: handed over: %v", what, err)
		}
		if err := v.Restore(ctx, []Batch{back})[0]; err != nil {
			t.Errorf("%s: restored: %v", what, err)
		}
		if got := names(v, "a.service"); !slices.Equal(got, back.Names) {
			t.Errorf("%s: the unit has %q", what, got)
		}
		// All else is looked at.
		if err := v.Restore(ctx, []Batch{{"b.service", []string{"a:b"}, []*os.File{newMemfd(t, 0)}}})[0]; !errors.As(err, &refusal) || refusal.Reason != InvalidName {
			t.Errorf("%s: a bad name: %v", what, err)
		}
		if len(v.Over()) == 0 {
			t.Errorf("%s: nobody is over it", what)
		}
		// A restart of luod doesn't look at limits either.
		v.Close()
		v = New(store, limits)
		if err := v.Adopt(store.Listen()); err != nil || len(v.Files("a.service")) != 2 {
			t.Errorf("%s: after a restart there are %d: %v", what, len(v.Files("a.service")), err)
		}
		v.Close()
		store.Close()
	}
}

func TestWhoIsOverALimitIsTold(t *testing.T) {
	ctx, store := context.Background(), fakestore.New()
	defer store.Close()
	v := New(store, Limits{Files: 2, Bytes: 100})
	defer v.Close()
	files := map[string]*os.File{}
	for _, unit := range []string{"c.service", "b.service", "a.service"} {
		files[unit] = newMemfd(t, 0)
		if err := files[unit].Truncate(100); err != nil {
			t.Fatal(err)
		}
		if err := v.Add(ctx, unit, []string{"f"}, []*os.File{files[unit]}); err != nil {
			t.Fatal(err)
		}
	}
	v.Refresh()
	if got := v.Over(); len(got) != 0 {
		t.Errorf("all is within the limits: %v", got)
	}
	if err := files["b.service"].Truncate(101); err != nil {
		t.Fatal(err)
	}
	if got := v.Over(); len(got) != 0 {
		t.Errorf("nobody has looked yet: %v", got)
	}
	v.Refresh()
	var more Batch
	for i := range 2 {
		more.Names, more.Files = append(more.Names, fmt.Sprint(i)), append(more.Files, newMemfd(t, 0))
	}
	more.Unit = "a.service"
	if err := v.Restore(ctx, []Batch{more})[0]; err != nil {
		t.Fatal(err)
	}
	want := []Over{{"a.service", "FileDescriptorsMax", 3, 2}, {"b.service", "BytesMax", 101, 100}}
	if got := v.Over(); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for i, text := range []string{
		"a.service has 3 file descriptors preserved: at most 2 are allowed (FileDescriptorsMax= of luod.conf)",
		"b.service has 101 bytes preserved: at most 100 are allowed (BytesMax= of luod.conf)",
	} {
		if got := want[i].String(); got != text {
			t.Errorf("got %q, want %q", got, text)
		}
	}
}
