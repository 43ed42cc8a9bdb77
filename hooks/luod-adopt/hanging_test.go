package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/hooks/internal/storecopy"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/storeview"
)

// luod is told which entry it is before anything else, and that the program failed.
func TestAnEntryOfADeadFileSystemIsNamed(t *testing.T) {
	path, got := impatient(t, 10*time.Second)
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	memfd := os.NewFile(uintptr(fd), "t")
	defer memfd.Close()
	if _, err := memfd.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	list := []storecopy.Copy{
		{Stored: storeview.Stored{Name: "good", Memfd: true}, F: memfd},
		{Stored: storeview.Stored{Name: "dead", Path: "/mnt/a", Type: unix.S_IFREG}},
	}
	dial := dialer(func(ctx context.Context) (*helperprotocol.Conversation, error) {
		return helperprotocol.DialAt(ctx, path)
	})
	err = dial.converse(func(luod *helperprotocol.Conversation) error { return handOver(luod, "a.service", list) })
	if !errors.Is(err, patience.ErrSilent) || err.Error() != `copy "dead" (/mnt/a): `+patience.ErrSilent.Error() {
		t.Errorf("got %v", err)
	}
	if want := []string{"forgo a.service dead: /mnt/a: " + patience.ErrSilent.Error(), "adopt a.service good: x"}; !slices.Equal(got(), want) {
		t.Errorf("luod was told %q, want %q", got(), want)
	}
}
