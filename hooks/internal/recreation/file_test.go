package recreation

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

// here stands in for PID 1.
var here = Host{Init: "/proc/self"}

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// disk is a directory on a file system that lives through a reboot.
func disk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	if err := survives(int(f.Fd()), st.Dev); err != nil {
		t.Skipf("there is no disk below $TMPDIR: %v", err)
	}
	if _, err := fileSystemUUID(int(f.Fd())); err != nil {
		t.Skipf("the file system of $TMPDIR has no UUID: %v", err)
	}
	return dir
}

// write opens a file with ten bytes in it with flags, and moves to at.
func write(t *testing.T, path string, flags int, at int64) *os.File {
	t.Helper()
	if err := os.WriteFile(path, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), path)
	t.Cleanup(func() { f.Close() })
	if _, err := unix.Seek(fd, at, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	return f
}

func state(t *testing.T, f *os.File) string {
	t.Helper()
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	if err != nil {
		t.Fatal(err)
	}
	cloexec, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
	if err != nil {
		t.Fatal(err)
	}
	at, err := unix.Seek(int(f.Fd()), 0, io.SeekCurrent)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("flags %#o, at %d, closed on exec %d", flags, at, cloexec)
}

func TestFilesAreOpenedAsTheyWere(t *testing.T) {
	dir := disk(t)
	for name, c := range map[string]struct {
		flags int
		at    int64
	}{
		"read only": {unix.O_RDONLY, 3}, "write only": {unix.O_WRONLY, 10}, "both": {unix.O_RDWR, 0}, "beyond the end": {unix.O_RDWR, 50},
		"append": {unix.O_WRONLY | unix.O_APPEND, 10}, "synchronous": {unix.O_RDWR | unix.O_SYNC, 1}, "data only": {unix.O_RDWR | unix.O_DSYNC, 1},
		"non-blocking": {unix.O_RDWR | unix.O_NONBLOCK, 1}, "no access times": {unix.O_RDONLY | unix.O_NOATIME, 1},
	} {
		t.Run(name, func(t *testing.T) {
			f := write(t, filepath.Join(dir, "x"), c.flags, c.at)
			was, before := state(t, f), openFDs(t)
			d, err := here.Describe(f)
			if err != nil {
				t.Fatal(err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
			f.Close()
			again, err := here.Make(d)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if now := state(t, again); now != was {
				t.Errorf("%s, and it was %s", now, was)
			}
		})
	}
}

// The log goes on at its end, also if others wrote to it meanwhile.
func TestALogGoesOnAtItsEnd(t *testing.T) {
	path := filepath.Join(disk(t), "log")
	f := write(t, path, unix.O_WRONLY, 10)
	d, err := here.Describe(f)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("ab"); err != nil {
		t.Fatal(err)
	}
	again, err := here.Make(d)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.WriteString("c"); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(path); string(text) != "0123456789abc" {
		t.Errorf("it is %q", text)
	}
}

func TestWhatTookAFilesPlaceIsNotOpened(t *testing.T) {
	for name, replace := range map[string]func(path string) error{
		"nothing": os.Remove,
		"another file": func(path string) error {
			return errors.Join(os.WriteFile(path+"2", nil, 0o600), os.Rename(path+"2", path))
		},
		"a copy": func(path string) error {
			return errors.Join(os.Remove(path), os.WriteFile(path, []byte("0123456789"), 0o600))
		},
		"a symbolic link": func(path string) error { return errors.Join(os.Rename(path, path+"2"), os.Symlink(path+"2", path)) },
		"a directory":     func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"a FIFO":          func(path string) error { return errors.Join(os.Remove(path), unix.Mkfifo(path, 0o600)) },
		"a file of another directory": func(path string) error {
			dir := filepath.Dir(path)
			return errors.Join(os.Rename(dir, dir+"2"), os.Mkdir(dir, 0o700), os.WriteFile(path, []byte("0123456789"), 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(disk(t), "dir")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, "x")
			f := write(t, path, unix.O_RDWR, 0)
			d, err := here.Describe(f)
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			if err := replace(path); err != nil {
				t.Fatal(err)
			}
			before := openFDs(t)
			if f, err := here.Make(d); err == nil {
				f.Close()
				t.Error("it was opened")
			} else if !strings.Contains(err.Error(), path) {
				t.Errorf("got %v", err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
	// An inode that was given away anew has another generation, and another file
	// system another UUID.
	f := write(t, filepath.Join(disk(t), "x"), unix.O_RDWR, 0)
	d, err := here.Describe(f)
	if err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(d *recipe.File){
		"handle": func(d *recipe.File) { d.Handle[0] ^= 1 },
		"type":   func(d *recipe.File) { d.HandleType++ },
		"UUID":   func(d *recipe.File) { d.UUID = "ff" },
	} {
		other := *d.File
		other.Handle = append([]byte{}, d.File.Handle...)
		spoil(&other)
		if _, err := here.Make(recipe.Recipe{File: &other}); err == nil || !strings.Contains(err.Error(), "another file") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestFilesThatAreNotDescribed(t *testing.T) {
	for name, c := range map[string]struct {
		open func(t *testing.T, dir string) *os.File
		why  string
	}{
		"deleted": {func(t *testing.T, dir string) *os.File {
			f := write(t, filepath.Join(dir, "x"), unix.O_RDWR, 0)
			os.Remove(f.Name())
			return f
		}, "it is deleted"},
		"deleted, with another name": {func(t *testing.T, dir string) *os.File {
			f := write(t, filepath.Join(dir, "x"), unix.O_RDWR, 0)
			if err := errors.Join(os.Link(f.Name(), f.Name()+"2"), os.Remove(f.Name())); err != nil {
				t.Fatal(err)
			}
			return f
		}, "find it again"},
		"O_TMPFILE": {func(t *testing.T, dir string) *os.File {
			fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
			if err != nil {
				t.Skipf("the file system has no O_TMPFILE: %v", err)
			}
			return os.NewFile(uintptr(fd), "x")
		}, "it is deleted"},
		"O_PATH": {func(t *testing.T, dir string) *os.File {
			fd, err := unix.Open(write(t, filepath.Join(dir, "x"), unix.O_RDWR, 0).Name(), unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			return os.NewFile(uintptr(fd), "x")
		}, "O_PATH"},
		"locked": {func(t *testing.T, dir string) *os.File {
			f := write(t, filepath.Join(dir, "x"), unix.O_RDWR, 0)
			if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			return f
		}, "it is locked"},
		"tmpfs": {func(t *testing.T, _ string) *os.File {
			f, err := os.CreateTemp("/dev/shm", "luod-test-")
			if err != nil {
				t.Skipf("there is no tmpfs at /dev/shm: %v", err)
			}
			t.Cleanup(func() { os.Remove(f.Name()) })
			return f
		}, "tmpfs"},
		"a memfd": {func(t *testing.T, _ string) *os.File {
			fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
			if err != nil {
				t.Fatal(err)
			}
			return os.NewFile(uintptr(fd), "x")
		}, "it is deleted"},
		"proc":        {func(t *testing.T, _ string) *os.File { f, _ := os.Open("/proc/self/status"); return f }, "proc"},
		"a directory": {func(t *testing.T, dir string) *os.File { f, _ := os.Open(dir); return f }, "neither"},
		"a pipe":      {func(t *testing.T, _ string) *os.File { r, w, _ := os.Pipe(); w.Close(); return r }, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := disk(t)
			f := c.open(t, dir)
			defer f.Close()
			before := openFDs(t)
			if d, err := here.Describe(f); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%+v, %v", d, err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

// What is below a file system is known by sysfs.
func TestWhatIsBelowAFileSystem(t *testing.T) {
	sys := t.TempDir()
	for dir, files := range map[string]map[string]string{
		"vda": nil, "ram0": nil, "zram1": nil, "dm-0": nil,
		"loop0": {"loop/backing_file": filepath.Join(sys, "missing") + "\n"}, "loop1": {"loop/backing_file": "/proc/self/status\n"},
	} {
		if err := os.MkdirAll(filepath.Join(sys, "devices", dir, "loop"), 0o700); err != nil {
			t.Fatal(err)
		}
		for name, text := range files {
			if err := os.WriteFile(filepath.Join(sys, "devices", dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, dir := range []string{"vda", "ram0", "zram1", "dm-0", "loop0", "loop1"} {
		if err := os.Symlink(filepath.Join("devices", dir), filepath.Join(sys, fmt.Sprintf("7:%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	noUUID := func() (string, error) { return "", errors.New("no UUID") }
	for minor, why := range map[uint32]string{
		0: "", 1: "ram0, which goes", 2: "zram1, which goes", 3: "", 4: "open its image", 5: "proc", 6: "no such file",
	} {
		err := onDisks(unix.EXT4_SUPER_MAGIC, unix.Mkdev(7, minor), noUUID, sys)
		if (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("7:%d: got %v, want %q", minor, err, why)
		}
	}
	if err := onDisks(unix.NFS_SUPER_MAGIC, unix.Mkdev(0, 40), noUUID, sys); err == nil || !strings.Contains(err.Error(), "on no disk") {
		t.Errorf("got %v", err)
	}
	if err := onDisks(unix.BTRFS_SUPER_MAGIC, unix.Mkdev(0, 40), noUUID, sys); err == nil || !strings.Contains(err.Error(), "no UUID") {
		t.Errorf("got %v", err)
	}
}

func TestMemfdsAreOpenedOnceMore(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "x")
	defer f.Close()
	if _, err := f.WriteString("0123456789"); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []int{unix.O_RDONLY, unix.O_RDWR, unix.O_WRONLY | unix.O_APPEND, unix.O_RDWR | unix.O_NONBLOCK} {
		again, err := Reopen(f, &recipe.Same{Of: "x", Flags: flags, Offset: 4})
		if err != nil {
			t.Fatal(err)
		}
		// The kernel adds O_LARGEFILE where it means something.
		if got := strings.Replace(state(t, again), "flags 01", "flags 0", 1); !strings.HasSuffix(got, fmt.Sprintf("%o, at 4, closed on exec 1", flags)) {
			t.Errorf("with %#o it is %s", flags, got)
		}
		again.Close()
	}
	if at, _ := f.Seek(0, io.SeekCurrent); at != 10 {
		t.Errorf("the other is at %d", at)
	}
}
