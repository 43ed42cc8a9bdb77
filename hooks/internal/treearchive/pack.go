package treearchive

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
)

// xattrPrefix begins the PAX record of an extended attribute, as other tars write
// it.
const xattrPrefix = "SCHILY.xattr."

// ErrTooLarge says that a directory has more bytes than allowed.
var ErrTooLarge = errors.New("the directory is too large")

// ErrNotRestorable says that a directory has something that Unpack can't put back.
var ErrNotRestorable = errors.New("it can't be put back")

// Pack writes the tree below dir, an absolute path, and dir itself, to w. It reads at
// most limit bytes of contents, else the error wraps ErrTooLarge. What Unpack would not
// put back is an error that wraps ErrNotRestorable, but for sockets. Nothing in it may
// change meanwhile; who changes something all the same can have what was his, and
// nothing else, packed.
func Pack(w io.Writer, dir string, limit int64) error {
	buffered := bufio.NewWriterSize(w, 1<<20)
	p := packer{tar.NewWriter(buffered), limit, map[uint64]string{}}
	err := walker{visit: p.pack}.walk(dir)
	if err == nil {
		err = p.t.Close()
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
	if err := (walker{visit: func(found) error { return nil }, changes: true}).walk(dir); err != nil {
		return fmt.Errorf("look at %s: %w", dir, err)
	}
	return nil
}

// packer writes files into an archive.
type packer struct {
	t     *tar.Writer
	limit int64
	// links are the first names of files that have several, by their inodes: all are on
	// one file system.
	links map[uint64]string
}

func (p *packer) pack(f found) error {
	target := ""
	if f.info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = beneath.ReadLink(f.f); err != nil {
			return err
		}
	}
	h, err := tar.FileInfoHeader(f.info, target)
	if err != nil {
		return err
	}
	// Names would be looked up in another system's lists.
	h.Name, h.Uname, h.Gname, h.Format = f.relative, "", "", tar.FormatPAX
	if h.PAXRecords, err = attributes(f); err != nil {
		return err
	}
	if st := f.stat(); st.Nlink > 1 && f.info.Mode().IsRegular() {
		if first, again := p.links[st.Ino]; again {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
		} else {
			p.links[st.Ino] = f.relative
		}
	}
	if h.Typeflag != tar.TypeReg {
		return p.t.WriteHeader(h)
	}
	if p.limit -= h.Size; p.limit < 0 {
		return fmt.Errorf("%s: %w", f.path, ErrTooLarge)
	}
	if err := p.t.WriteHeader(h); err != nil {
		return err
	}
	contents, err := os.Open(beneath.Again(f.f)) // a regular file, for which nobody waits
	if err != nil {
		return fmt.Errorf("open %s: %w", f.path, err)
	}
	defer contents.Close()
	if _, err := io.CopyN(p.t, contents, h.Size); err != nil {
		return fmt.Errorf("read %s: %w", f.path, err)
	}
	return nil
}

// attributes reads the extended attributes of a file.
func attributes(f found) (map[string]string, error) {
	path := beneath.Again(f.f)
	list := make([]byte, 64<<10)
	n, err := unix.Listxattr(path, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the extended attributes of %s: %w", f.path, err)
	}
	var records map[string]string
	for name := range strings.SplitSeq(strings.Trim(string(list[:n]), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value := make([]byte, 64<<10)
		n, err := unix.Getxattr(path, name, value)
		if err != nil {
			return nil, fmt.Errorf("read the extended attribute %s of %s: %w", name, f.path, err)
		}
		if records == nil {
			records = map[string]string{}
		}
		records[xattrPrefix+name] = string(value[:n])
	}
	return records, nil
}
