package pe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// File is a PE image's headers.
type File struct {
	// Machine is the COFF header's: 0x8664 for x86-64, 0xaa64 for arm64.
	Machine uint16
	// Sections are in the file's order.
	Sections []Section
	// Certificates is the attribute certificate table, of size 0 if there is
	// none.
	Certificates Section
}

// Section is a named part of the file. It lies wholly in it.
type Section struct {
	Name         string
	Offset, Size int64
}

// Reader reads the section from the file that it was found in.
func (s Section) Reader(file io.ReaderAt) *io.SectionReader {
	return io.NewSectionReader(file, s.Offset, s.Size)
}

// Text returns what the section holds up to a NUL; more than limit bytes are an
// error.
func (s Section) Text(file io.ReaderAt, limit int64) (string, error) {
	if s.Size > limit {
		return "", fmt.Errorf("read section %s: it has %d bytes, and over %d are not sane", s.Name, s.Size, limit)
	}
	text := make([]byte, s.Size)
	if _, err := io.ReadFull(s.Reader(file), text); err != nil {
		return "", fmt.Errorf("read section %s: %w", s.Name, err)
	}
	text, _, _ = bytes.Cut(text, []byte{0})
	return string(text), nil
}

// ErrNone says that a file is no PE image.
var ErrNone = errors.New("it is no PE image")

// The PE format's own names. A kernel's stub has at most 96 sections
// (the PE loader of EDK2 takes no more).
const (
	offLFANew        = 0x3c
	coffSize         = 24
	sectionSize      = 40
	maxSections      = 96
	maxOptional      = 4096
	magicPE32        = 0x10b
	magicPE32Plus    = 0x20b
	securityPE32     = 128
	securityPE32Plus = 144
)

// Read reads the headers of the image of size bytes in r. It returns ErrNone if
// there is no such header, and other errors where what it says can't be.
func Read(r io.ReaderAt, size int64) (*File, error) {
	le := binary.LittleEndian
	// A device has more bytes than its caller speaks of.
	r = io.NewSectionReader(r, 0, size)
	dos := make([]byte, offLFANew+4)
	if err := readAt(r, dos, 0); err != nil || string(dos[:2]) != "MZ" {
		return nil, ErrNone
	}
	at := int64(le.Uint32(dos[offLFANew:]))
	coff := make([]byte, coffSize)
	if err := readAt(r, coff, at); err != nil || string(coff[:4]) != "PE\x00\x00" {
		return nil, ErrNone
	}
	f := &File{Machine: le.Uint16(coff[4:])}
	count, optionalSize := int(le.Uint16(coff[6:])), int(le.Uint16(coff[20:]))
	if count > maxSections || optionalSize > maxOptional {
		return nil, fmt.Errorf("its header tells of %d sections and %d bytes of optional header, which is not sane", count, optionalSize)
	}
	optional := make([]byte, optionalSize)
	if err := readAt(r, optional, at+coffSize); err != nil {
		return nil, fmt.Errorf("read the optional header: %w", err)
	}
	f.Certificates = certificates(optional, size)
	table := make([]byte, count*sectionSize)
	if err := readAt(r, table, at+coffSize+int64(optionalSize)); err != nil {
		return nil, fmt.Errorf("read the section table: %w", err)
	}
	for ; len(table) > 0; table = table[sectionSize:] {
		name, _, _ := bytes.Cut(table[:8], []byte{0})
		s := Section{
			Name:   string(name),
			Offset: int64(le.Uint32(table[20:])),
			// What lies behind VirtualSize is padding.
			Size: int64(min(le.Uint32(table[8:]), le.Uint32(table[16:]))),
		}
		if s.Size > 0 && s.Offset+s.Size > size {
			return nil, fmt.Errorf("its section %q ends at byte %d, and it has only %d: it is half written", s.Name, s.Offset+s.Size, size)
		}
		f.Sections = append(f.Sections, s)
	}
	return f, nil
}

// Sections reads the section table alone.
func Sections(r io.ReaderAt, size int64) ([]Section, error) {
	f, err := Read(r, size)
	if err != nil {
		return nil, err
	}
	return f.Sections, nil
}

// certificates finds the fifth data directory, whose address is an offset in the
// file.
func certificates(optional []byte, size int64) Section {
	le := binary.LittleEndian
	at := 0
	if len(optional) >= 2 {
		switch le.Uint16(optional) {
		case magicPE32:
			at = securityPE32
		case magicPE32Plus:
			at = securityPE32Plus
		}
	}
	if at == 0 || len(optional) < at+8 {
		return Section{}
	}
	s := Section{"certificates", int64(le.Uint32(optional[at:])), int64(le.Uint32(optional[at+4:]))}
	if s.Offset == 0 || s.Offset+s.Size > size {
		return Section{}
	}
	return s
}

func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
