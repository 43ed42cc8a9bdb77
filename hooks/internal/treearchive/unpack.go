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

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
)

// Left is what Unpack did not put back, or not as it was, and why.
type Left struct{ Name, Why string }

// Unpack puts what Pack wrote into dir, an absolute path, which may exist; what is in
// it and not in the archive stays. It never leaves dir, whatever the archive says and
// whatever the owner of dir does meanwhile. Left out are device nodes, which Pack took
// at one time: a service that can't start for one of them could never start again. A
// directory that is there already, in one that others than root can write to, and
// belongs to somebody else than it did, is filled and keeps its owner.
func Unpack(r io.Reader, dir string) (left []Left, err error) {
	place, err := beneath.Make("/", dir)
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", dir, err)
	}
	defer place.Close()
	u := unpacker{tar: tar.NewReader(bufio.NewReaderSize(r, 1<<20)), place: place}
	if err := u.all(); err != nil {
		return u.left, fmt.Errorf("unpack %s: %w", dir, err)
	}
	return u.left, nil
}

// unpacker puts files into a directory.
type unpacker struct {
	tar   *tar.Reader
	place *beneath.Place
	left  []Left
}

func (u *unpacker) all() error {
	var directories []*tar.Header
	for {
		h, err := u.tar.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock {
			u.left = append(u.left, Left{h.Name, "is a device node and was not put back"})
			continue
		}
		if h.AccessTime.IsZero() {
			h.AccessTime = h.ModTime
		}
		h.Name = filepath.Clean(h.Name)
		if err := u.put(h); err != nil {
			return err
		}
		if h.Typeflag == tar.TypeDir {
			directories = append(directories, h)
		}
	}
	// Making things in a directory changes its times.
	for _, h := range slices.Backward(directories) {
		f, err := beneath.OpenIn(u.place.Dir, h.Name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		err = setTimes(f, h)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// put makes the file that h tells of.
func (u *unpacker) put(h *tar.Header) error {
	if h.Typeflag == tar.TypeDir && h.Name == "." {
		return u.adopt(u.place.Dir, u.place.Fixed, h)
	}
	dir, err := beneath.OpenIn(u.place.Dir, filepath.Dir(h.Name), unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := filepath.Base(h.Name)
	if h.Typeflag == tar.TypeDir {
		return u.directory(dir, name, h)
	}
	if err := remove(dir, name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		f, err := beneath.OpenIn(dir, name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		if err = fill(f, u.tar, h.Size); err == nil {
			err = restoreFacts(f, h)
		}
		return errors.Join(err, f.Close())
	case tar.TypeSymlink:
		if err := unix.Symlinkat(h.Linkname, int(dir.Fd()), name); err != nil {
			return fmt.Errorf("make the symbolic link %s: %w", h.Name, err)
		}
		return made(dir, name, unix.S_IFLNK, h)
	case tar.TypeFifo:
		if err := unix.Mkfifoat(int(dir.Fd()), name, 0o600); err != nil {
			return fmt.Errorf("make the FIFO %s: %w", h.Name, err)
		}
		return made(dir, name, unix.S_IFIFO, h)
	case tar.TypeLink:
		return u.link(dir, name, h)
	}
	return fmt.Errorf("%s is of the type %q, which is not restored", h.Name, h.Typeflag)
}

// directory makes a directory, or takes the one that is there.
func (u *unpacker) directory(dir *os.File, name string, h *tar.Header) error {
	err := unix.Mkdirat(int(dir.Fd()), name, 0o700)
	if err == nil {
		return made(dir, name, unix.S_IFDIR, h)
	}
	if !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("make the directory %s: %w", h.Name, err)
	}
	there, err := beneath.OpenIn(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if errors.Is(err, unix.ENOTDIR) {
		if err := remove(dir, name); err != nil {
			return err
		}
		if err := unix.Mkdirat(int(dir.Fd()), name, 0o700); err != nil {
			return fmt.Errorf("make the directory %s: %w", h.Name, err)
		}
		return made(dir, name, unix.S_IFDIR, h)
	}
	if err != nil {
		return err
	}
	defer there.Close()
	return u.adopt(there, false, h)
}

// adopt gives a directory that was there its facts. Where it could have been put into
// its place by others, it keeps its owner and all else unless it is as it was, or
// empty, as one is after an unpacking that was killed: it may be somebody's who trusts
// in its owner and mode.
func (u *unpacker) adopt(f *os.File, fixed bool, h *tar.Header) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", h.Name, err)
	}
	if !fixed && int(st.Uid) != h.Uid {
		names, err := list(f)
		if err != nil {
			return fmt.Errorf("list the directory %s: %w", h.Name, err)
		}
		if len(names) > 0 {
			u.left = append(u.left, Left{h.Name, fmt.Sprintf("was there, with files in it, and belongs to user %d; it was filled and not given to user %d", st.Uid, h.Uid)})
			return nil
		}
	}
	return restoreFacts(f, h)
}

// link makes a hard link to a file that was put there before.
func (u *unpacker) link(dir *os.File, name string, h *tar.Header) error {
	first, err := beneath.OpenIn(u.place.Dir, filepath.Clean(h.Linkname), unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer first.Close()
	if info, err := first.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("make the hard link %s: %s is no regular file (%v)", h.Name, h.Linkname, err)
	}
	if err := unix.Linkat(unix.AT_FDCWD, beneath.Again(first), int(dir.Fd()), name, unix.AT_SYMLINK_FOLLOW); err != nil {
		return fmt.Errorf("make the hard link %s: %w", h.Name, err)
	}
	return nil // its facts are the other's
}

// made gives what was just made as name its facts. Another file that somebody has put
// in its place is an error.
func made(dir *os.File, name string, kind uint32, h *tar.Header) error {
	f, err := beneath.OpenIn(dir, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return fmt.Errorf("look at %s: %w", h.Name, err)
	}
	ours := st.Mode&unix.S_IFMT == kind && int(st.Uid) == os.Geteuid()
	if kind == unix.S_IFDIR {
		names, err := list(f)
		ours = ours && err == nil && len(names) == 0
	} else {
		ours = ours && st.Nlink == 1
	}
	if !ours {
		return fmt.Errorf("give %s its owner: another file was put in its place", h.Name)
	}
	return restoreFacts(f, h)
}

// remove removes a file, or an empty directory.
func remove(dir *os.File, name string) error {
	err := unix.Unlinkat(int(dir.Fd()), name, 0)
	if errors.Is(err, unix.EISDIR) {
		err = unix.Unlinkat(int(dir.Fd()), name, unix.AT_REMOVEDIR)
	}
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &os.PathError{Op: "remove", Path: filepath.Join(dir.Name(), name), Err: err}
	}
	return nil
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
func restoreFacts(f *os.File, h *tar.Header) error {
	path := beneath.Again(f)
	if err := unix.Fchownat(int(f.Fd()), "", h.Uid, h.Gid, unix.AT_EMPTY_PATH); err != nil {
		return fmt.Errorf("give %s its owner: %w", h.Name, err)
	}
	if h.Typeflag != tar.TypeSymlink {
		if err := os.Chmod(path, h.FileInfo().Mode()&(os.ModePerm|os.ModeSetuid|os.ModeSetgid|os.ModeSticky)); err != nil {
			return fmt.Errorf("give %s its mode: %w", h.Name, err)
		}
	}
	for key, value := range h.PAXRecords {
		name, is := strings.CutPrefix(key, xattrPrefix)
		if !is {
			continue
		}
		if err := unix.Setxattr(path, name, []byte(value), 0); err != nil {
			return fmt.Errorf("set the extended attribute %s of %s: %w", name, h.Name, err)
		}
	}
	return setTimes(f, h)
}

// setTimes sets the times of what f is open on, perhaps with O_PATH.
func setTimes(f *os.File, h *tar.Header) error {
	times := []unix.Timespec{unix.NsecToTimespec(h.AccessTime.UnixNano()), unix.NsecToTimespec(h.ModTime.UnixNano())}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, beneath.Again(f), times, 0); err != nil {
		return fmt.Errorf("set the times of %s: %w", h.Name, err)
	}
	return nil
}
