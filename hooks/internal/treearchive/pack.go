package treearchive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// xattrPrefix begins the PAX record of an extended attribute, as other tars write
// it.
const xattrPrefix = "SCHILY.xattr."

// ErrTooLarge says that a directory has more bytes than allowed.
var ErrTooLarge = errors.New("the directory is too large")

// ErrNotRestorable says that a directory has something that Unpack can't put back.
var ErrNotRestorable = errors.New("it can't be put back")

// Pack writes the tree below dir, and dir itself, to w. It reads at most limit bytes
// of contents, else the error wraps ErrTooLarge. What Unpack would not put back is an
// error that wraps ErrNotRestorable, but for sockets. Nothing in it may change
// meanwhile.
func Pack(w io.Writer, dir string, limit int64) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	t := tar.NewWriter(buffered)
	links := map[uint64]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSocket != 0 {
			return nil
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if err := restorable(path, relative, info); err != nil {
			return err
		}
		if limit -= sizeOf(info); limit < 0 {
			return fmt.Errorf("%s: %w", path, ErrTooLarge)
		}
		return packOne(t, path, relative, info, links)
	})
	if err == nil {
		err = t.Close()
	}
	if err == nil {
		err = buffered.Flush()
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", dir, err)
	}
	return nil
}

// Check says whether Pack would refuse the tree below dir now for what Unpack can't put
// back: an error that wraps ErrNotRestorable. It reads no contents, and something may be
// in it later.
func Check(dir string) error {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil // its owner works with it
		}
		if err != nil || info.Mode()&fs.ModeSocket != 0 {
			return err
		}
		relative, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return restorable(path, relative, info)
	})
	if err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return nil
}

func restorable(path, relative string, info fs.FileInfo) error {
	if what := unrestorable(info.Mode()); what != "" {
		return fmt.Errorf("%s is %s: %w", path, what, ErrNotRestorable)
	}
	if relative == "." && !info.IsDir() {
		return fmt.Errorf("%s is no directory itself: %w", path, ErrNotRestorable)
	}
	return nil
}

// unrestorable says what a file is that create makes no other of; a whiteout of an
// overlay file system is a character device, too.
func unrestorable(mode fs.FileMode) string {
	switch mode.Type() {
	case 0, fs.ModeDir, fs.ModeSymlink, fs.ModeNamedPipe:
		return ""
	case fs.ModeDevice, fs.ModeDevice | fs.ModeCharDevice:
		return "a device node"
	}
	return fmt.Sprintf("of a kind that is not known (%s)", mode)
}

func sizeOf(info fs.FileInfo) int64 {
	if info.Mode().IsRegular() {
		return info.Size()
	}
	return 0
}

func packOne(t *tar.Writer, path, relative string, info fs.FileInfo, links map[uint64]string) error {
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	// Names would be looked up in another system's lists.
	h.Name, h.Uname, h.Gname, h.Format = relative, "", "", tar.FormatPAX
	if h.PAXRecords, err = attributes(path); err != nil {
		return err
	}
	st, _ := info.Sys().(*syscall.Stat_t)
	if st != nil && st.Nlink > 1 && info.Mode().IsRegular() {
		if first, again := links[st.Ino]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			links[st.Ino] = relative
		}
	}
	if err := t.WriteHeader(h); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := openRegular(path, info)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.CopyN(t, f, h.Size)
	return err
}

// openRegular opens the regular file that info is of. What has taken its place
// meanwhile is an error: a FIFO would have the packer wait for a writer, and a symbolic
// link lead elsewhere.
func openRegular(path string, info fs.FileInfo) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	now, err := f.Stat()
	if err == nil && !os.SameFile(info, now) {
		err = fmt.Errorf("open %s: it was replaced while the directory was packed", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// attributes reads the extended attributes of what path names, itself.
func attributes(path string) (map[string]string, error) {
	list := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the extended attributes of %s: %w", path, err)
	}
	var records map[string]string
	for name := range strings.SplitSeq(strings.Trim(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("read the extended attribute %s of %s: %w", name, path, err)
		}
		if records == nil {
			records = map[string]string{}
		}
		records[xattrPrefix+name] = string(value[:n])
	}
	return records, nil
}
