package vault

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/deadfs"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/sdnotify/fakestore"
)

// The coordinator's one goroutine looks at what it is given, and must not wait for it.
func TestTheVaultAsksNoFileSystem(t *testing.T) {
	dead := deadfs.Mount(t)
	number := dead.Open(t, unix.O_RDWR)
	polled := dead.Open(t, unix.O_RDWR|unix.O_NONBLOCK)
	fd, err := unix.FcntlInt(uintptr(number), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "dead")
	defer file.Close()
	defer dead.LetGo()
	v := New(fakestore.New(), Limits{Files: 16384, Bytes: 1 << 60})
	dead.Die()
	var refusal *Refusal
	if err := v.Add(context.Background(), "a.service", []string{"good", "dead"}, []*os.File{newMemfd(t, 0), file}); !errors.As(err, &refusal) || refusal.Reason != UnsupportedFile {
		t.Errorf("the vault says %v", err)
	}
	if files, err := Take([]string{"dead"}, []foreign.Descriptor{foreign.Descriptor(polled)}); !errors.As(err, &refusal) || refusal.Reason != UnsupportedFile || files != nil {
		t.Errorf("a file could be made of it: %v, %v", files, err)
	}
	if asked := dead.Asked(); len(asked) > 0 {
		t.Errorf("the file system was asked %q", asked)
	}
}
