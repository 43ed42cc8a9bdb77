package treearchive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// other is a user that nobody is.
const other = 65533

// needsRoot skips a test that gives files away.
func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, as the gate has")
	}
}

// swapping swaps a and b as fast as it can until the test or stop ends it.
func swapping(t *testing.T, a, b string) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

// inTime fails the test if what takes longer than 20 s, as one that waits for a FIFO.
func inTime(t *testing.T, what func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); what() }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("it waits")
	}
}

const secret = "the secret of root"

// The owner of a directory swaps what is in it, while root packs it.
func TestNothingOfOthersIsPacked(t *testing.T) {
	needsRoot(t)
	for name, make := range map[string]func(dir, hidden, aside string) (a, b string, err error){
		"a file for a link": func(dir, hidden, aside string) (string, string, error) {
			return dir + "/sub/file", aside, os.Symlink(hidden+"/file", aside)
		},
		"a directory for a link": func(dir, hidden, aside string) (string, string, error) {
			return dir + "/sub", aside, os.Symlink(hidden, aside)
		},
		"the directory for a link": func(dir, hidden, aside string) (string, string, error) {
			return dir, aside, os.Symlink(filepath.Dir(hidden)+"/all", aside)
		},
		"a file for a FIFO": func(dir, hidden, aside string) (string, string, error) {
			return dir + "/sub/file", aside, unix.Mkfifo(aside, 0o600)
		},
		"a link for a link": func(dir, hidden, aside string) (string, string, error) {
			return dir + "/link", aside, errors.Join(os.Symlink("file", dir+"/link"), os.Symlink(hidden+"/file", aside))
		},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			hers, hidden := outer+"/hers", outer+"/all/sub"
			dir, aside := hers+"/dir", hers+"/aside"
			check(t, os.MkdirAll(dir+"/sub", 0o755), os.WriteFile(dir+"/sub/file", []byte("hers"), 0o600),
				os.MkdirAll(hidden, 0o755), os.WriteFile(hidden+"/file", []byte(secret), 0o600), os.Chmod(outer+"/all", 0o700))
			a, b, err := make(dir, hidden, aside)
			check(t, err)
			for _, path := range []string{hers, dir, dir + "/sub", dir + "/sub/file"} {
				check(t, os.Lchown(path, other, other))
			}
			swapping(t, a, b)
			good := 0
			inTime(t, func() {
				for began := time.Now(); time.Since(began) < 400*time.Millisecond; {
					var archive bytes.Buffer
					if err := Pack(&archive, dir, 1<<20); err == nil {
						good++
					}
					_ = Check(dir)
					if strings.Contains(archive.String(), secret) {
						t.Error("root's file is in the archive")
						return
					}
				}
			})
			t.Logf("%d times it was packed", good)
		})
	}
}

// archive is of a directory with another in it, and a file in that one.
func archive(t *testing.T, uid int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: ".", Typeflag: tar.TypeDir, Mode: 0o755, Uid: uid, Gid: uid},
		{Name: "sub", Typeflag: tar.TypeDir, Mode: 0o755, Uid: uid, Gid: uid},
		{Name: "sub/file", Typeflag: tar.TypeReg, Mode: 0o644, Uid: uid, Gid: uid, Size: 1},
		{Name: "sub/fifo", Typeflag: tar.TypeFifo, Mode: 0o644, Uid: uid, Gid: uid},
		{Name: "sub/link", Typeflag: tar.TypeSymlink, Linkname: "file", Uid: uid, Gid: uid},
		{Name: "sub/hard", Typeflag: tar.TypeLink, Linkname: "sub/file", Uid: uid, Gid: uid},
	} {
		check(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("x"))
			check(t, err)
		}
	}
	check(t, w.Close())
	return b.Bytes()
}

// The owner of the directory above puts links in the way, while root unpacks there.
func TestNothingIsUnpackedElsewhere(t *testing.T) {
	needsRoot(t)
	for name, c := range map[string]struct {
		prepare func(hers, victim string) error
		// a and b are swapped, below the directory that is hers.
		a, b string
	}{
		"a link is there":      {func(hers, victim string) error { return os.Symlink(victim, hers+"/dir") }, "", ""},
		"a link is on the way": {func(hers, victim string) error { return os.Symlink(filepath.Dir(victim), hers+"/way") }, "", ""},
		"a link is in it": {func(hers, victim string) error {
			return errors.Join(os.Mkdir(hers+"/dir", 0o755), os.Symlink(victim, hers+"/dir/sub"))
		}, "", ""},
		"a link takes its place": {func(hers, victim string) error {
			return errors.Join(os.Mkdir(hers+"/dir", 0o755), os.Symlink(victim, hers+"/aside"))
		}, "dir", "aside"},
		"a link takes sub's": {func(hers, victim string) error {
			return errors.Join(os.MkdirAll(hers+"/dir/sub", 0o755), os.Symlink(victim, hers+"/aside"))
		}, "dir/sub", "aside"},
		"a link takes the file's": {func(hers, victim string) error {
			return errors.Join(os.MkdirAll(hers+"/dir/sub", 0o755), os.Symlink(victim+"/file", hers+"/aside"), os.WriteFile(hers+"/dir/sub/file", nil, 0o600))
		}, "dir/sub/file", "aside"},
		"root's directory does": {func(hers, victim string) error {
			return errors.Join(os.MkdirAll(hers+"/dir/sub", 0o755), os.Mkdir(hers+"/roots", 0o700), os.WriteFile(hers+"/roots/secret", nil, 0o644))
		}, "dir/sub", "roots"},
	} {
		t.Run(name, func(t *testing.T) {
			outer := t.TempDir()
			hers, victim := outer+"/hers", outer+"/etc/victim"
			check(t, os.Mkdir(hers, 0o755), os.MkdirAll(victim, 0o755), os.WriteFile(victim+"/file", []byte(secret), 0o600))
			check(t, c.prepare(hers, victim))
			check(t, os.Lchown(hers, other, other))
			for _, path := range []string{"/dir", "/dir/sub", "/aside", "/way"} {
				if err := os.Lchown(hers+path, other, other); err != nil && !errors.Is(err, os.ErrNotExist) {
					t.Fatal(err)
				}
			}
			to := hers + "/dir"
			if _, err := os.Lstat(hers + "/way"); err == nil {
				to = hers + "/way/victim"
			}
			before := facts(t, outer+"/etc")
			stop := func() {}
			if c.a != "" {
				stop = swapping(t, hers+"/"+c.a, hers+"/"+c.b)
			}
			good := 0
			inTime(t, func() {
				for began := time.Now(); time.Since(began) < 400*time.Millisecond; {
					if _, err := Unpack(bytes.NewReader(archive(t, other)), to); err == nil {
						good++
					}
					if c.a == "" {
						break
					}
				}
			})
			stop()
			if now := facts(t, outer+"/etc"); now != before {
				t.Errorf("it was\n%s\nand is\n%s", before, now)
			}
			var st unix.Stat_t
			for _, path := range []string{"/roots", "/dir/sub"} {
				if _, err := os.Lstat(hers + path + "/secret"); err != nil {
					continue
				}
				check(t, unix.Lstat(hers+path, &st))
				if st.Uid != 0 || st.Mode&0o7777 != 0o700 {
					t.Errorf("root's directory belongs to %d and has mode %o", st.Uid, st.Mode&0o7777)
				}
			}
			t.Logf("%d times it was unpacked", good)
		})
	}
}

// What an unpacking left that was killed is no obstacle for the next, and neither is
// what the service has made itself.
func TestItIsUnpackedOnceMore(t *testing.T) {
	needsRoot(t)
	outer := t.TempDir()
	hers := outer + "/hers"
	check(t, os.Mkdir(hers, 0o755), os.Lchown(hers, other, other))
	for name, prepare := range map[string]func(dir string) error{
		"nothing": func(string) error { return nil },
		"an empty directory": func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/sub", 0o700), os.Lchown(dir, other, other))
		},
		"all": func(dir string) error { _, err := Unpack(bytes.NewReader(archive(t, other)), dir); return err },
		"a file for sub": func(dir string) error {
			return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(dir+"/sub", nil, 0o644), os.Lchown(dir, other, other))
		},
		"a directory for fifo": func(dir string) error {
			return errors.Join(os.MkdirAll(dir+"/sub/fifo", 0o755), os.Lchown(dir+"/sub", other, other), os.Lchown(dir, other, other))
		},
	} {
		dir := hers + "/" + strings.ReplaceAll(name, " ", "-")
		check(t, prepare(dir))
		left, err := Unpack(bytes.NewReader(archive(t, other)), dir)
		if err != nil || len(left) != 0 {
			t.Errorf("%s: %v, %v", name, left, err)
		}
		for _, path := range []string{"", "/sub", "/sub/file", "/sub/fifo", "/sub/link", "/sub/hard"} {
			var st unix.Stat_t
			check(t, unix.Lstat(dir+path, &st))
			if st.Uid != other || st.Gid != other {
				t.Errorf("%s: %s belongs to %d:%d", name, path, st.Uid, st.Gid)
			}
		}
	}
}

// A mount point would come back as a directory of what is below it.
func TestMountPointsAreNotPacked(t *testing.T) {
	needsRoot(t)
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/m", 0o755), os.Mkdir(dir+"/n", 0o755))
	if err := unix.Mount(dir+"/n", dir+"/m", "", unix.MS_BIND, ""); err != nil {
		t.Skipf("nothing can be mounted here: %v", err)
	}
	defer unix.Unmount(dir+"/m", unix.MNT_DETACH)
	for what, err := range map[string]error{"pack": Pack(new(bytes.Buffer), dir, 1<<20), "check": Check(dir)} {
		if !errors.Is(err, ErrNotRestorable) || !strings.Contains(fmt.Sprint(err), dir+"/m is a mount point") {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The mount itself is what it is asked for.
	check(t, Check(dir+"/m"))
}

// What could not be opened again by its path is refused while it is still there.
func TestPathsThatAreTooLongAreNotPacked(t *testing.T) {
	dir := t.TempDir()
	deep, err := os.Open(dir)
	check(t, err)
	name := strings.Repeat("x", 255)
	for range 17 {
		check(t, unix.Mkdirat(int(deep.Fd()), name, 0o755))
		fd, err := unix.Openat(int(deep.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		check(t, err, deep.Close())
		deep = os.NewFile(uintptr(fd), name)
	}
	check(t, deep.Close())
	for what, err := range map[string]error{"pack": Pack(new(bytes.Buffer), dir, 1<<20), "check": Check(dir)} {
		if !errors.Is(err, ErrNotRestorable) || !strings.Contains(err.Error(), "path longer than") {
			t.Errorf("%s: %.100s", what, fmt.Sprint(err))
		}
	}
}
