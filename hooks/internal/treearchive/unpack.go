package treearchive

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Unpack puts what Pack wrote into dir, which may exist; what is in it and not in
// the archive stays. It never leaves dir, whatever the archive says. Device nodes,
// which Pack took at one time, are left out, and come back as skipped: a service that
// can't start for one of them could never start again.
func Unpack(r io.Reader, dir string) (skipped []string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return skipped, fmt.Errorf("unpack %s: %w", dir, err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return skipped, fmt.Errorf("unpack %s: %w", dir, err)
	}
	defer root.Close()
	t := tar.NewReader(bufio.NewReaderSize(r, 1<<20))
	var directories []*tar.Header
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			h.Name = strings.TrimSuffix(h.Name, "/")
			if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
				skipped = append(skipped, h.Name)
				continue
			}
			if err = create(root, t, h); err == nil {
				err = restoreFacts(root, h)
			}
		}
		if err != nil {
			return skipped, fmt.Errorf("unpack %s: %w", dir, err)
		}
		if h.Typeflag == tar.TypeDir {
			directories = append(directories, h)
		}
	}
	// Making things in a directory changes its times.
	for _, h := range slices.Backward(directories) {
		if err := root.Chtimes(h.Name, h.AccessTime, h.ModTime); err != nil {
			return skipped, fmt.Errorf("unpack %s: %w", dir, err)
		}
	}
	return skipped, nil
}

func create(root *os.Root, t *tar.Reader, h *tar.Header) error {
	if h.Typeflag != tar.TypeDir {
		if err := root.Remove(h.Name); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if h.Name == "." {
			return nil
		}
		if err := root.Mkdir(h.Name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case tar.TypeReg:
		f, err := root.OpenFile(h.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		return errors.Join(fill(f, t, h.Size), f.Close())
	case tar.TypeSymlink:
		return root.Symlink(h.Linkname, h.Name)
	case tar.TypeLink:
		return root.Link(h.Linkname, h.Name)
	case tar.TypeFifo:
		return within(root, h.Name, func(path string) error { return unix.Mkfifo(path, 0o600) })
	}
	return fmt.Errorf("%s is of the type %q, which is not restored", h.Name, h.Typeflag)
}

// page is what is left out where it has only zeros.
const page = 4096

// fill writes size bytes with holes where there is nothing.
func fill(f *os.File, r io.Reader, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	chunk, zeros := make([]byte, page), make([]byte, page)
	for at := int64(0); at < size; at += page {
		part := chunk[:min(page, size-at)]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		if bytes.Equal(part, zeros[:len(part)]) {
			continue
		}
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
	}
	return nil
}

// restoreFacts gives the file what it was besides its contents. The owner comes
// first, since a change of it drops some of the rest.
func restoreFacts(root *os.Root, h *tar.Header) error {
	if h.Typeflag == tar.TypeLink {
		return nil // it is another's
	}
	if err := root.Lchown(h.Name, h.Uid, h.Gid); err != nil {
		return err
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := root.Chmod(h.Name, h.FileInfo().Mode()&(os.ModePerm|os.ModeSetuid|os.ModeSetgid|os.ModeSticky)); err != nil {
			return err
		}
	}
	for key, value := range h.PAXRecords {
		name, is := strings.CutPrefix(key, xattrPrefix)
		if !is {
			continue
		}
		if err := within(root, h.Name, func(path string) error { return unix.Lsetxattr(path, name, []byte(value), 0) }); err != nil {
			return fmt.Errorf("set the extended attribute %s of %s: %w", name, h.Name, err)
		}
	}
	if h.AccessTime.IsZero() {
		h.AccessTime = h.ModTime
	}
	return within(root, h.Name, func(path string) error { return setTimes(path, h.AccessTime, h.ModTime) })
}

func setTimes(path string, accessed, modified time.Time) error {
	return unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{
		unix.NsecToTimespec(accessed.UnixNano()), unix.NsecToTimespec(modified.UnixNano()),
	}, unix.AT_SYMLINK_NOFOLLOW)
}

// within calls f with a path for name that no symbolic link on the way leads out of
// root.
func within(root *os.Root, name string, f func(path string) error) error {
	parent, err := root.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer parent.Close()
	return f(fmt.Sprintf("/proc/self/fd/%d/%s", parent.Fd(), filepath.Base(name)))
}
