package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/kexec/uki"
)

// Source are a target's files, open: what is looked at, hashed and loaded is one
// and the same, whoever replaces a path meanwhile. Make them with Open.
type Source struct {
	// Image is the kernel's.
	Image *image.Image
	// Kernel are its bytes. Whole says that they are the whole file, and not a
	// section of a unified kernel image.
	Kernel *io.SectionReader
	Whole  bool
	// Initrds are the parts of the initial RAM file system.
	Initrds []Part

	target kexec.Target
	kernel *os.File
	files  []*os.File
}

// Part is a part of the initial RAM file system: a file, or a section of one.
type Part struct {
	Name   string
	Reader *io.SectionReader
	file   *os.File
	whole  bool
}

// maxFile bounds, in bytes, what is taken for a kernel or an initrd. The kernel
// itself takes at most 2 GiB (KEXEC_FILE_SIZE_MAX in kernel/kexec_file.c).
const maxFile = 2 << 30

// Open opens a target's files and reads the image's header. It refuses what is no
// regular file, and can't be held up by a FIFO or a device. The caller closes it.
func Open(t kexec.Target) (*Source, error) {
	s := &Source{target: t}
	if err := s.open(t); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Source) open(t kexec.Target) error {
	var err error
	var size int64
	if s.kernel, size, err = s.file(t.Kernel); err != nil {
		return fmt.Errorf("read the kernel image: %w", err)
	}
	s.Kernel, s.Whole = io.NewSectionReader(s.kernel, 0, size), true
	unified, err := uki.Read(s.kernel, size)
	switch {
	case errors.Is(err, uki.ErrNone):
		if t.Profile != 0 {
			return fmt.Errorf("read the kernel image: %s is no unified kernel image, so it has no profile %d", t.Kernel, t.Profile)
		}
	case err != nil:
		return fmt.Errorf("read the unified kernel image %s: %w", t.Kernel, err)
	case t.Profile < 0 || t.Profile >= len(unified.Profiles):
		return fmt.Errorf("read the unified kernel image %s: it has %d profiles and no profile %d", t.Kernel, len(unified.Profiles), t.Profile)
	default:
		p := unified.Profiles[t.Profile]
		s.Kernel, s.Whole = p.Linux.Reader(s.kernel), false
		for _, section := range p.Initrds {
			s.Initrds = append(s.Initrds, Part{t.Kernel + ":" + section.Name, section.Reader(s.kernel), s.kernel, false})
		}
	}
	if s.Image, err = image.Read(s.Kernel, s.Kernel.Size()); err != nil {
		return fmt.Errorf("read the kernel image: %s is not a kernel image: %w", t.Kernel, err)
	}
	for _, path := range t.Initrds {
		f, size, err := s.file(path)
		if err != nil {
			return fmt.Errorf("read the initrd: %w", err)
		}
		s.Initrds = append(s.Initrds, Part{path, io.NewSectionReader(f, 0, size), f, true})
	}
	return nil
}

// file opens a regular, non-empty file of sane size, which s owns.
func (s *Source) file(path string) (*os.File, int64, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	s.files = append(s.files, f)
	st, err := f.Stat()
	switch {
	case err != nil:
		return nil, 0, err
	case st.IsDir():
		return nil, 0, fmt.Errorf("%s is a directory, not a file", path)
	case !st.Mode().IsRegular():
		return nil, 0, fmt.Errorf("%s is not a regular file (%v)", path, st.Mode().Type())
	case st.Size() == 0:
		return nil, 0, fmt.Errorf("%s is empty", path)
	case st.Size() > maxFile:
		return nil, 0, fmt.Errorf("%s has %d bytes, and the kernel takes no file over %d", path, st.Size(), maxFile)
	}
	return f, st.Size(), nil
}

// Close closes the files.
func (s *Source) Close() {
	for _, f := range s.files {
		f.Close()
	}
	s.files = nil
}

// Digest is the SHA-256, in hexadecimal, of the kernel and each part of the
// initrd, every one with its length before it.
func (s *Source) Digest() (string, error) {
	sum := sha256.New()
	parts := []*io.SectionReader{s.Kernel}
	for _, p := range s.Initrds {
		parts = append(parts, p.Reader)
	}
	for _, p := range parts {
		if err := binary.Write(sum, binary.LittleEndian, p.Size()); err != nil {
			return "", err
		}
		n, err := io.Copy(sum, io.NewSectionReader(p, 0, p.Size()))
		if err == nil && n != p.Size() {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return "", fmt.Errorf("hash %s: %w", s.target.Kernel, err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// Stamp tells files that were not written to, replaced or renamed from others: the
// device, inode, size (bytes), and times of modification and change (ns) of each. A
// write within the same tick of the file system's clock may leave it as it was, so
// it says less than a digest.
func (s *Source) Stamp() (string, error) {
	var stamp strings.Builder
	for _, f := range append([]*os.File{s.kernel}, s.initrdFiles()...) {
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			return "", fmt.Errorf("look at %s: %w", f.Name(), err)
		}
		fmt.Fprintf(&stamp, "%d:%d:%d:%d:%d ", st.Dev, st.Ino, st.Size, st.Mtim.Nano(), st.Ctim.Nano())
	}
	return strings.TrimSpace(stamp.String()), nil
}

func (s *Source) initrdFiles() []*os.File {
	var files []*os.File
	for _, part := range s.Initrds {
		if part.whole {
			files = append(files, part.file)
		}
	}
	return files
}

// kernelFile is what kexec_file_load(2) gets for the kernel: the file itself
// where it can, since a security module may want to see that one.
func (s *Source) kernelFile() (*os.File, error) {
	switch {
	case s.Image.Packed():
		payload, err := s.Image.Payload()
		if err != nil {
			return nil, fmt.Errorf("unpack the kernel image: %w", err)
		}
		defer payload.Close()
		return s.memory("kernel", payload)
	case s.Whole:
		return s.kernel, nil
	}
	return s.memory("kernel", io.NewSectionReader(s.Kernel, 0, s.Kernel.Size()))
}

// initrdFile is what kexec_file_load(2) gets for the initrd, or nil. The parts
// follow each other at multiples of 4 bytes, as an uncompressed archive must
// begin (Documentation/driver-api/early-userspace/buffer-format.rst).
func (s *Source) initrdFile() (*os.File, error) {
	switch {
	case len(s.Initrds) == 0:
		return nil, nil
	case len(s.Initrds) == 1 && s.Initrds[0].whole:
		return s.Initrds[0].file, nil
	}
	var readers []io.Reader
	for _, p := range s.Initrds {
		readers = append(readers, io.NewSectionReader(p.Reader, 0, p.Reader.Size()), padding(p.Reader.Size()))
	}
	return s.memory("initrd", io.MultiReader(readers...))
}

func padding(size int64) io.Reader {
	return io.LimitReader(zeros{}, -size&3)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// memory copies r into a memfd and returns it open for reading only: the kernel
// refuses to load from a file that somebody could write to (ETXTBSY of
// deny_write_access in kernel_read_file).
func (s *Source) memory(name string, r io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate("kexec-"+name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory for the %s: %w", name, err)
	}
	w := os.NewFile(uintptr(fd), name)
	defer w.Close()
	n, err := io.Copy(w, io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("copy the %s: %w", name, err)
	}
	if n > maxFile {
		return nil, fmt.Errorf("copy the %s: it has over %d bytes, and the kernel takes no more", name, maxFile)
	}
	f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return nil, fmt.Errorf("open the memory of the %s for reading: %w", name, err)
	}
	s.files = append(s.files, f)
	return f, nil
}
