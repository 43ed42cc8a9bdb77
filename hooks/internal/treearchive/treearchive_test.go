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
	check(t, Unpack(&archive, to))
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
		"a device":         {{Name: "disk", Typeflag: tar.TypeBlock, Devmajor: 8}},
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
		if err := Unpack(&b, outer+"/dir"); err == nil {
			t.Errorf("%s: it was unpacked", name)
		}
		entries, _ := os.ReadDir(outer)
		if len(entries) != 1 {
			t.Errorf("%s: there is %v", name, entries)
		}
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
		_ = Unpack(bytes.NewReader(data), outer+"/dir")
		if entries, _ := os.ReadDir(outer); len(entries) > 1 {
			t.Fatalf("it wrote outside: %v", entries)
		}
	})
}
