package storecopy

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/patience"
	"github.com/liveupdate/luod/internal/deadfs"
	"github.com/liveupdate/luod/internal/storeview"
)

// What other units have in their stores is PID 1's too.
func TestAStrangersDeadFileIsNotLookedAt(t *testing.T) {
	dead := deadfs.Mount(t)
	dead.Open(t, unix.O_RDWR)
	f, entry := memfd(t, "mine")
	defer f.Close()
	dead.Die()
	open, err := descriptors(os.Getpid(), inodes(entry), patience.Limit)
	if err != nil || len(open.by) != 1 || len(open.silent) != 0 {
		t.Errorf("got %+v, %v", open, err)
	}
	if asked := dead.Asked(); len(asked) > 0 {
		t.Errorf("the file system was asked %q", asked)
	}
}

// An entry whose file system is dead is said to be so, whether it dies before PID 1's
// descriptor is looked at or after that, and the others are copied.
func TestADeadEntryIsTold(t *testing.T) {
	for what, flags := range map[string]int{"a file": unix.O_RDWR, "one that is polled": unix.O_RDWR | unix.O_NONBLOCK} {
		for _, early := range []bool{true, false} {
			dead := deadfs.Mount(t)
			fd := dead.Open(t, flags)
			var st unix.Stat_t
			if err := unix.Fstat(fd, &st); err != nil {
				t.Fatal(err)
			}
			mine, good := memfd(t, "good")
			entries := []storeview.Stored{good, {Name: "dead", Device: st.Dev, Inode: st.Ino, Type: unix.S_IFREG, Path: dead.Dir}}
			pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
			if err != nil {
				t.Fatal(err)
			}
			if early {
				dead.Die()
			}
			open, err := descriptors(os.Getpid(), inodes(entries...), 20*time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			if !early {
				dead.Die()
			}
			list, err := copyStore(pidfd, open, entries, func(storeview.Stored) bool { return true }, 20*time.Millisecond)
			if err != nil || len(list) != 2 || list[0].Name != "dead" || list[0].F != nil || list[1].F == nil {
				t.Errorf("%s, dead before it was looked at %v: got %+v, %v", what, early, list, err)
			}
			Close(list)
			dead.LetGo()
			unix.Close(pidfd)
			mine.Close()
		}
	}
}
