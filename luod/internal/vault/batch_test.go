package vault

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

// waits counts how often PID 1 is waited for, and fails as it is told.
type waits struct {
	*fakestore.Store
	count int
	fail  error
}

func (w *waits) Barrier(ctx context.Context) error {
	w.count++
	if w.fail != nil {
		return w.fail
	}
	return w.Store.Barrier(ctx)
}

func batch(t *testing.T, unit string, n int) Batch {
	b := Batch{Unit: unit}
	for i := range n {
		b.Names, b.Files = append(b.Names, fmt.Sprint(i)), append(b.Files, newMemfd(t, 0))
	}
	return b
}

func TestManyUnitsAreAddedWithOneWaitForPID1(t *testing.T) {
	newMemfd(t, 0).Close()
	ctx, store := context.Background(), &waits{Store: fakestore.New()}
	before := openFDs(t)
	v := New(store, Limits{Files: 16384, Bytes: 1 << 60})
	bad := batch(t, "bad.service", 3)
	bad.Names[2] = "a:b"
	batches := []Batch{batch(t, "a.service", 2000), bad, batch(t, "b.service", 1), {Unit: "none.service"}, batch(t, "c.service", 300)}
	failed := v.AddAll(ctx, batches)
	for i, want := range []string{"", "InvalidName", "", "BadCount", ""} {
		var refusal *Refusal
		if got := failed[i]; (got == nil) != (want == "") || got != nil && (!errors.As(got, &refusal) || string(refusal.Reason) != want) {
			t.Errorf("%s: got %v, want %q", batches[i].Unit, got, want)
		}
	}
	if store.count != 1 {
		t.Errorf("waited %d times", store.count)
	}
	if units, files, _ := v.Totals(); units != 3 || files != 2301 || !slices.Equal(v.Units(), []string{"a.service", "b.service", "c.service"}) {
		t.Errorf("%d units with %d files: %v", units, files, v.Units())
	}
	for _, f := range bad.Files {
		f.Close() // still ours
	}
	v.Close()
	// A kill: the store has all of them, in their order.
	v = New(store, Limits{Files: 16384, Bytes: 1 << 60})
	if err := v.Adopt(store.Listen()); err != nil {
		t.Fatal(err)
	}
	for _, b := range []Batch{batches[0], batches[2], batches[4]} {
		if got := names(v, b.Unit); !slices.Equal(got, b.Names) {
			t.Errorf("%s has %d files, want %d in the same order", b.Unit, len(got), len(b.Names))
		}
	}
	v.Close()
	store.Close()
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

func TestWhatPID1DidNotTakeIsNotAdded(t *testing.T) {
	ctx, store := context.Background(), &waits{Store: fakestore.New()}
	defer store.Close()
	v := New(store, Limits{Files: 16384, Bytes: 1 << 60})
	defer v.Close()
	if err := v.Add(ctx, "a.service", []string{"first"}, []*os.File{newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	before := store.Names()
	store.fail = errors.New("PID 1 is busy")
	a, b := batch(t, "a.service", 2), batch(t, "b.service", 2)
	failed := v.AddAll(ctx, []Batch{a, b})
	// The bundle that PID 1 has already takes more, whatever PID 1 does.
	if failed[0] != nil || !errors.Is(failed[1], store.fail) {
		t.Errorf("got %v", failed)
	}
	if got := names(v, "a.service"); !slices.Equal(got, []string{"first", "0", "1"}) || len(v.Files("b.service")) != 0 {
		t.Errorf("a.service has %v, b.service %d", got, len(v.Files("b.service")))
	}
	if got := store.Names(); !slices.Equal(got, before) {
		t.Errorf("in the store: %v, before: %v", got, before)
	}
	store.fail = nil
	if err := v.Add(ctx, "b.service", b.Names, b.Files); err != nil {
		t.Errorf("the second try: %v", err)
	}
}

func TestTheTotalsFollowTheFiles(t *testing.T) {
	ctx, store := context.Background(), fakestore.New()
	defer store.Close()
	v := New(store, Limits{Files: 100, Bytes: 1000})
	defer v.Close()
	f := newMemfd(t, 0)
	if err := v.Add(ctx, "a.service", []string{"f", "g"}, []*os.File{f, newMemfd(t, 0)}); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(900); err != nil {
		t.Fatal(err)
	}
	if _, _, bytes := v.Totals(); bytes != 0 {
		t.Errorf("%d bytes before anybody looked", bytes)
	}
	// Where there is a limit, what grew counts.
	large := newMemfd(t, 0)
	if err := unix.Ftruncate(int(large.Fd()), 101); err != nil {
		t.Fatal(err)
	}
	var refusal *Refusal
	if err := v.Add(ctx, "a.service", []string{"large"}, []*os.File{large}); !errors.As(err, &refusal) || refusal.Reason != TooMany {
		t.Errorf("1001 of 1000 bytes: %v", err)
	}
	if err := v.Add(ctx, "b.service", []string{"large"}, []*os.File{large}); err != nil {
		t.Error(err)
	}
	v.Refresh()
	if units, files, bytes := v.Totals(); units != 2 || files != 3 || bytes != 1001 {
		t.Errorf("%d units, %d files, %d bytes", units, files, bytes)
	}
	if err := v.Remove(ctx, "a.service", []string{"f"}); err != nil {
		t.Fatal(err)
	}
	if units, files, bytes := v.Totals(); units != 2 || files != 2 || bytes != 101 {
		t.Errorf("after a removal: %d units, %d files, %d bytes", units, files, bytes)
	}
}
