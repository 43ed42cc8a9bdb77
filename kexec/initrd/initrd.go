package initrd

import (
	"bufio"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/liveupdate/luod/kexec/compression"
)

// Contents are what an initial RAM file system holds.
type Contents struct {
	// Compressions are those of its parts, in order, without the bare ones.
	Compressions []compression.Format
	// Modules are the kernel releases that it has a modules directory for.
	Modules []string
	// Complete says that all of it was looked at; what comes after a compressed
	// archive can't be seen.
	Complete bool
}

const (
	// MaxUnpacked bounds, in bytes, what is unpacked of one.
	MaxUnpacked = 4 << 30

	// Documentation/driver-api/early-userspace/buffer-format.rst: "newc" and
	// "crc", a header of 110 ASCII characters, names and data at multiples of 4.
	magicNewc, magicCRC = "070701", "070702"
	headerSize          = 110
	maxName             = 4096 // PATH_MAX, as init/initramfs.c
	trailer             = "TRAILER!!!"
	maxReleases         = 64
)

// ErrNone says that the file begins like no initial RAM file system.
var ErrNone = errors.New("it is neither a cpio archive (newc) nor compressed in a way known")

// Read reads one until done says that what was found is enough, or to its end. A
// nil done never is.
func Read(r io.Reader, done func(Contents) bool) (Contents, error) {
	var c Contents
	w := &walk{done: done, found: &c}
	if done == nil {
		w.done = func(Contents) bool { return false }
	}
	err := w.parts(&position{from: bufio.NewReaderSize(r, 1<<16)}, true)
	if errors.Is(err, errEnough) {
		return c, nil
	}
	return c, err
}

var errEnough = errors.New("enough")

type walk struct {
	done  func(Contents) bool
	found *Contents
}

// parts reads archives until the end of p; outer ones may be compressed.
func (w *walk) parts(p *position, outer bool) error {
	for n := 0; ; n++ {
		if err := p.zeros(); err == io.EOF {
			if n == 0 {
				return ErrNone
			}
			w.found.Complete = true
			return nil
		} else if err != nil {
			return err
		}
		head, err := p.from.Peek(16)
		if err != nil && err != io.EOF {
			return err
		}
		if strings.HasPrefix(string(head), magicNewc) || strings.HasPrefix(string(head), magicCRC) {
			if err := w.archive(p); err != nil {
				return err
			}
			continue
		}
		format := compression.Detect(head)
		if format == "" || !outer {
			if n == 0 {
				return ErrNone
			}
			return fmt.Errorf("behind byte %d is neither a cpio archive nor anything compressed", p.at)
		}
		w.found.Compressions = append(w.found.Compressions, format)
		unpacked, err := compression.NewReader(format, p.from, MaxUnpacked)
		if err != nil {
			return err
		}
		err = w.parts(&position{from: bufio.NewReaderSize(unpacked, 1<<16)}, false)
		unpacked.Close()
		w.found.Complete = false // the unpacker has read ahead
		return err
	}
}

// archive reads one to its trailer.
func (w *walk) archive(p *position) error {
	for {
		size, name, err := p.entry()
		if err != nil {
			return fmt.Errorf("read the cpio archive: %w", err)
		}
		if name == trailer {
			return nil
		}
		w.see(name)
		if w.done(*w.found) {
			return errEnough
		}
		if err := p.skip(size + -size&3); err != nil {
			return fmt.Errorf("read the cpio archive: %s: %w", name, err)
		}
	}
}

// see notes the release of a path below a modules directory.
func (w *walk) see(name string) {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "usr/"), "lib/modules/")
	release, _, _ := strings.Cut(rest, "/")
	if ok && release != "" && len(w.found.Modules) < maxReleases && !slices.Contains(w.found.Modules, release) {
		w.found.Modules = append(w.found.Modules, release)
	}
}

// position is a stream that knows where it is.
type position struct {
	from *bufio.Reader
	at   int64
}

func (p *position) zeros() error {
	for {
		b, err := p.from.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return p.from.UnreadByte()
		}
		p.at++
	}
}

func (p *position) skip(n int64) error {
	skipped, err := io.CopyN(io.Discard, p.from, n)
	p.at += skipped
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// entry reads a header and the name behind it.
func (p *position) entry() (size int64, name string, err error) {
	head := make([]byte, headerSize)
	if _, err := io.ReadFull(p.from, head); err != nil {
		return 0, "", cut(err)
	}
	p.at += headerSize
	if m := string(head[:6]); m != magicNewc && m != magicCRC {
		return 0, "", fmt.Errorf("at byte %d is no header", p.at-headerSize)
	}
	fileSize, err := field(head, 6)
	if err != nil {
		return 0, "", err
	}
	nameSize, err := field(head, 11)
	if err != nil {
		return 0, "", err
	}
	if nameSize == 0 || nameSize > maxName {
		return 0, "", fmt.Errorf("at byte %d: a name of %d bytes", p.at-headerSize, nameSize)
	}
	text := make([]byte, nameSize+-(headerSize+nameSize)&3)
	if _, err := io.ReadFull(p.from, text); err != nil {
		return 0, "", cut(err)
	}
	p.at += int64(len(text))
	name, _, _ = strings.Cut(string(text[:nameSize]), "\x00")
	return fileSize, name, nil
}

// field is the nth of the 8-digit numbers behind the magic.
func field(head []byte, n int) (int64, error) {
	b, err := hex.DecodeString(string(head[6+8*n : 14+8*n]))
	if err != nil {
		return 0, fmt.Errorf("its header holds no number: %w", err)
	}
	return int64(b[0])<<24 | int64(b[1])<<16 | int64(b[2])<<8 | int64(b[3]), nil
}

func cut(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
