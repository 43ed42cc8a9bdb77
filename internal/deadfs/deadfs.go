package deadfs

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// File is the only file's name.
const File = "file"

// FS is one that is mounted. Make it with Mount.
type FS struct {
	// Dir is where it is mounted.
	Dir string

	t      *testing.T
	device int
	done   chan struct{}

	mu     sync.Mutex
	dead   bool
	exempt []uint32
	asked  []string
	giveUp *time.Timer
}

// tooLong is how long a test may have it dead, which then fails rather than hangs.
const tooLong = 20 * time.Second

// Mount mounts one until the test is over, which is skipped where that can't be done.
// Everything that waits for its answer then fails.
func Mount(t *testing.T) *FS {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts a FUSE file system that has no helper")
	}
	device, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("this kernel has no FUSE: %v", err)
	}
	dir, err := os.MkdirTemp("", "luod-deadfs-")
	if err != nil {
		t.Fatal(err)
	}
	f := &FS{Dir: dir, t: t, device: device, done: make(chan struct{})}
	if err := unix.Mount("luod-deadfs", dir, "fuse", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device)); err != nil {
		unix.Close(device)
		os.Remove(dir)
		t.Skipf("a FUSE file system can't be mounted here: %v", err)
	}
	go f.serve()
	t.Cleanup(func() {
		f.mu.Lock()
		if f.giveUp != nil {
			f.giveUp.Stop()
		}
		f.mu.Unlock()
		// MNT_FORCE has whoever waits for an answer given up (fs/fuse/inode.c:
		// fuse_umount_begin), and MNT_DETACH does not mind open files.
		_ = unix.Unmount(dir, unix.MNT_FORCE|unix.MNT_DETACH)
		<-f.done
		unix.Close(device)
		os.Remove(dir)
	})
	return f
}

// Open opens the file with flags while the file system still answers. The caller owns
// the descriptor, and closes it once LetGo was called, or the test is over.
func (f *FS) Open(t *testing.T, flags int) int {
	t.Helper()
	fd, err := unix.Open(filepath.Join(f.Dir, File), flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("open the file of the file system that is to hang: %v", err)
	}
	t.Cleanup(func() {
		f.LetGo()
		unix.Close(fd)
	})
	return fd
}

// Die has it answer nobody any more besides the threads of exempt.
func (f *FS) Die(exempt ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dead, f.asked, f.exempt = true, nil, nil
	for _, tid := range exempt {
		f.exempt = append(f.exempt, uint32(tid))
	}
	f.giveUp = time.AfterFunc(tooLong, func() {
		f.t.Errorf("somebody waits for the dead file system, which was asked %q", f.Asked())
		f.LetGo()
	})
}

// LetGo has everything fail that waits for an answer, and what it is asked from now on.
func (f *FS) LetGo() {
	f.mu.Lock()
	if f.giveUp != nil {
		f.giveUp.Stop()
	}
	f.mu.Unlock()
	_ = unix.Unmount(f.Dir, unix.MNT_FORCE|unix.MNT_DETACH)
}

// Asked is what it was asked since it died, such as "FLUSH", by all but the exempt.
func (f *FS) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// WaitAsked waits until it was asked what.
func (f *FS) WaitAsked(t *testing.T, what string) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !slices.Contains(f.Asked(), what); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the file system was asked %q, and never %s", f.Asked(), what)
		}
	}
}
