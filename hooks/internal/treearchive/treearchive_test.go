package treearchive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// facts describes a tree, a line for each file.
func facts(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	inodes := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %s %d:%d %d", name, info.Mode(), st.Uid, st.Gid, info.ModTime().UnixNano())
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %d %q", len(data), data[:min(len(data), 20)])
			if first, again := inodes[st.Ino]; again {
				fmt.Fprintf(&b, " = %s", first)
			}
			inodes[st.Ino] = name
			value := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, "user.colour", value); err == nil {
				fmt.Fprintf(&b, " colour %s", value[:n])
			}
		case info.Mode()&fs.ModeSymlink != 0:
			to, _ := os.Readlink(path)
			b.WriteString(" → " + to)
			value := make([]byte, 100)
			if n, err := unix.Lgetxattr(path, "trusted.colour", value); err == nil {
				fmt.Fprintf(&b, " colour %s", value[:n])
			}
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func check(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestATreeComesBackAsItWas(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	old := time.Unix(1_600_000_000, 123_456_789)
	check(t,
		os.MkdirAll(from+"/sub/deep", 0o755), os.Chmod(from+"/sub", os.ModeSticky|0o750),
		os.WriteFile(from+"/file", []byte("contents"), 0o640), os.Chtimes(from+"/file", old, old),
		os.WriteFile(from+"/empty", nil, 0o4711), os.Chmod(from+"/empty", os.ModeSetuid|0o711),
		os.WriteFile(from+"/sub/deep/x", bytes.Repeat([]byte("0123456789"), 12345), 0o600),
		os.Symlink("/nowhere", from+"/sub/link"), os.Link(from+"/file", from+"/sub/hard"),
		unix.Mkfifo(from+"/fifo", 0o600),
		os.WriteFile(from+"/sparse", nil, 0o600), os.Truncate(from+"/sparse", 8<<20),
	)
	if os.Geteuid() == 0 {
		check(t, os.Lchown(from+"/sub", 1000, 1001), os.Lchown(from+"/sub/link", 7, 8))
	}
	_ = unix.Lsetxattr(from+"/file", "user.colour", []byte("red"), 0) // where the file system has them
	if os.Geteuid() == 0 {
		_ = unix.Lsetxattr(from+"/sub/link", "trusted.colour", []byte("blue"), 0)
	}
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	check(t, err)
	defer unix.Close(s)
	t.Chdir(from)
	check(t, unix.Bind(s, &unix.SockaddrUnix{Name: "socket"}))
	check(t, os.Chtimes(from+"/sub", old, old), os.Chtimes(from, old, old))
	want := strings.Join(strings.SplitAfter(facts(t, from), "\n"), "")
	want = dropLine(want, "socket ")

	var archive bytes.Buffer
	check(t, Pack(&archive, from, 64<<20))
	to := filepath.Join(t.TempDir(), "to")
	// Something is there already, also under a name of the archive's.
	check(t, os.MkdirAll(to, 0o700), os.WriteFile(to+"/file", []byte("other"), 0o600))
	skipped, err := Unpack(&archive, to)
	if err != nil || len(skipped) != 0 {
		t.Fatalf("%v, %v", skipped, err)
	}
	if got := facts(t, to); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	var st unix.Stat_t
	check(t, unix.Stat(to+"/sparse", &st))
	if st.Blocks > 64 {
		t.Errorf("the hole takes %d blocks", st.Blocks)
	}
}

func dropLine(text, prefix string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, prefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestItIsBounded(t *testing.T) {
	dir := t.TempDir()
	check(t, os.WriteFile(dir+"/a", make([]byte, 1000), 0o600), os.WriteFile(dir+"/b", make([]byte, 1000), 0o600))
	if err := Pack(new(bytes.Buffer), dir, 1999); !errors.Is(err, ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	if err := Pack(new(bytes.Buffer), dir, 2000); err != nil {
		t.Error(err)
	}
}

// An archive that was written by somebody else does not write elsewhere.
func TestItStaysInside(t *testing.T) {
	for name, headers := range map[string][]tar.Header{
		"a path out":       {{Name: "../evil", Typeflag: tar.TypeReg, Size: 1, Mode: 0o600}},
		"an absolute path": {{Name: "/tmp/evil-luod", Typeflag: tar.TypeReg, Size: 1, Mode: 0o600}},
		"by a link":        {{Name: "link", Linkname: "..", Typeflag: tar.TypeSymlink}, {Name: "link/evil", Typeflag: tar.TypeReg, Size: 1, Mode: 0o600}},
		"an unknown kind":  {{Name: "x", Typeflag: tar.TypeCont}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range headers {
			check(t, w.WriteHeader(&h))
			if h.Size > 0 {
				_, err := w.Write([]byte("x"))
				check(t, err)
			}
		}
		check(t, w.Close())
		outer := t.TempDir()
		if _, err := Unpack(&b, outer+"/dir"); err == nil {
			t.Errorf("%s: it was unpacked", name)
		}
		entries, _ := os.ReadDir(outer)
		if len(entries) != 1 {
			t.Errorf("%s: there is %v", name, entries)
		}
	}
}

// What can't be put back is refused while it is still there.
func TestDeviceNodesAreNotPacked(t *testing.T) {
	for name, node := range map[string]struct {
		mode, device uint32
	}{
		"null": {unix.S_IFCHR, uint32(unix.Mkdev(1, 3))}, "disk": {unix.S_IFBLK, uint32(unix.Mkdev(7, 99))}, "whiteout": {unix.S_IFCHR, 0},
	} {
		dir := t.TempDir()
		path := dir + "/sub/" + name
		check(t, os.Mkdir(dir+"/sub", 0o755))
		if err := unix.Mknod(path, node.mode|0o600, int(node.device)); errors.Is(err, unix.EPERM) {
			t.Skip("only root can make a device node")
		} else if err != nil {
			t.Fatal(err)
		}
		if err := Pack(new(bytes.Buffer), dir, 1<<20); !errors.Is(err, ErrNotRestorable) || !strings.Contains(err.Error(), path+" is a device node") {
			t.Errorf("%s: %v", name, err)
		}
		if err := Check(dir); !errors.Is(err, ErrNotRestorable) {
			t.Errorf("%s: the look says %v", name, err)
		}
		check(t, os.Remove(path), Check(dir))
	}
}

// Nothing that stands in the place of the directory is taken for it.
func TestOnlyADirectoryIsPacked(t *testing.T) {
	dir := t.TempDir()
	check(t, os.Mkdir(dir+"/d", 0o755), os.Symlink("file", dir+"/link"), os.WriteFile(dir+"/file", nil, 0o600), unix.Mkfifo(dir+"/fifo", 0o600))
	for _, name := range []string{"link", "file", "fifo"} {
		if err := Pack(new(bytes.Buffer), dir+"/"+name, 1<<20); !errors.Is(err, ErrNotRestorable) || !errors.Is(Check(dir+"/"+name), ErrNotRestorable) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What is refused, by the kind of file alone: to make a device node takes root.
func TestWhatCanBePutBack(t *testing.T) {
	for mode, restorable := range map[fs.FileMode]bool{
		0o644: true, fs.ModeDir | fs.ModeSticky | 0o777: true, fs.ModeSymlink: true, fs.ModeNamedPipe: true, fs.ModeSetuid | 0o755: true,
		fs.ModeDevice: false, fs.ModeDevice | fs.ModeCharDevice: false, fs.ModeIrregular: false,
	} {
		if what := unrestorable(mode); (what == "") != restorable {
			t.Errorf("%s: %q", mode, what)
		}
	}
}

// An archive of an earlier luod may have device nodes; the rest comes back.
func TestDeviceNodesAreSkipped(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	at := time.Unix(1_600_000_000, 0)
	for _, h := range []tar.Header{
		{Name: ".", Typeflag: tar.TypeDir, Mode: 0o750, ModTime: at, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "null", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3, Mode: 0o666, ModTime: at, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8, Mode: 0o600, ModTime: at, Uid: os.Getuid(), Gid: os.Getgid()},
		{Name: "file", Typeflag: tar.TypeReg, Size: 1, Mode: 0o600, ModTime: at, Uid: os.Getuid(), Gid: os.Getgid()},
	} {
		check(t, w.WriteHeader(&h))
		if h.Size > 0 {
			_, err := w.Write([]byte("x"))
			check(t, err)
		}
	}
	check(t, w.Close())
	dir := t.TempDir()
	// What the service has made there itself stays.
	check(t, os.WriteFile(dir+"/null", []byte("mine"), 0o600))
	skipped, err := Unpack(&b, dir)
	if err != nil || len(skipped) != 2 || skipped[0].Name != "null" || skipped[1].Name != "disk" {
		t.Fatalf("%v, %v", skipped, err)
	}
	mine, err1 := os.ReadFile(dir + "/null")
	file, err2 := os.ReadFile(dir + "/file")
	info, err3 := os.Stat(dir)
	check(t, err1, err2, err3)
	if _, err := os.Lstat(dir + "/disk"); err == nil || string(mine) != "mine" || string(file) != "x" || !info.ModTime().Equal(at) {
		t.Errorf("%q, %q, %v, %v", mine, file, info.ModTime(), err)
	}
}

func FuzzUnpack(f *testing.F) {
	dir := f.TempDir()
	if err := os.WriteFile(dir+"/a", []byte("x"), 0o600); err != nil {
		f.Fatal(err)
	}
	var b bytes.Buffer
	if err := Pack(&b, dir, 1<<20); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		outer := t.TempDir()
		_, _ = Unpack(bytes.NewReader(data), outer+"/dir")
		if entries, _ := os.ReadDir(outer); len(entries) > 1 {
			t.Fatalf("it wrote outside: %v", entries)
		}
	})
}
