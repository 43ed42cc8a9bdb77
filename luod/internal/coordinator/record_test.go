package coordinator

import (
	"os"
	"testing"

	"github.com/liveupdate/luod/luod/internal/record"
)

// Handing over changes nothing that the record tells of, and there are many such
// calls; what does change it is on disk before the caller has its answer.
func TestTheRecordIsWrittenOnlyWhenItChanges(t *testing.T) {
	w := newWorld(t)
	written := func() os.FileInfo {
		t.Helper()
		st, err := os.Stat(w.record)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	first := written()
	w.preserve("a.service", 3)
	if err := w.c.Fetched(ctx, "a.service", []string{"0"}); err != nil {
		t.Fatal(err)
	}
	if now := written(); !os.SameFile(first, now) {
		t.Error("it was written for nothing")
	}
	if s := w.status(); s.FileDescriptors != 3 || s.Units != 1 {
		t.Errorf("the status has %d file descriptors of %d units", s.FileDescriptors, s.Units)
	}
	w.load()
	if now := written(); os.SameFile(first, now) {
		t.Error("a loaded kernel is not in it")
	}
	if r, err := record.Read(w.record); err != nil || r.Loaded == nil {
		t.Errorf("%+v, %v", r, err)
	}
}
