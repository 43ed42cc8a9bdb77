package pe_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/kexec/pe"
	"github.com/liveupdate/luod/kexec/pe/petest"
)

// Where petest puts the headers.
const (
	coff     = 0x80
	optional = coff + 24
	table    = optional + 160
)

func twoSections() []byte {
	return petest.Image(0x8664, petest.Section{Name: ".linux", Data: []byte("kernel")}, petest.Section{Name: ".profile", Data: []byte("ID=a\x00\x00")})
}

func TestRead(t *testing.T) {
	image := twoSections()
	f, err := pe.Read(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	if f.Machine != 0x8664 || len(f.Sections) != 2 || f.Sections[0].Name != ".linux" || f.Sections[1].Name != ".profile" || f.Certificates.Size != 0 {
		t.Errorf("got %+v", f)
	}
	kernel, err := io.ReadAll(f.Sections[0].Reader(bytes.NewReader(image)))
	if string(kernel) != "kernel" || err != nil {
		t.Errorf("the section holds %q, %v", kernel, err)
	}
	text, err := f.Sections[1].Text(bytes.NewReader(image), 100)
	if text != "ID=a" || err != nil {
		t.Errorf("the section's text is %q, %v", text, err)
	}
	if _, err := f.Sections[1].Text(bytes.NewReader(image), 5); err == nil {
		t.Error("a text longer than the limit is taken")
	}
	sections, err := pe.Sections(bytes.NewReader(image), int64(len(image)))
	if !slices.Equal(sections, f.Sections) || err != nil {
		t.Errorf("Sections: got %v, %v", sections, err)
	}
}

func TestReadCertificates(t *testing.T) {
	for _, c := range []struct {
		name         string
		offset, size uint32
		want         int64
	}{
		{"there are some", 512, 100, 100},
		{"half written", 512, 1 << 20, 0},
		{"far behind the end", 1<<32 - 1, 1<<32 - 1, 0},
		{"none", 0, 100, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := twoSections()
			binary.LittleEndian.PutUint32(image[optional+144:], c.offset)
			binary.LittleEndian.PutUint32(image[optional+148:], c.size)
			f, err := pe.Read(bytes.NewReader(image), int64(len(image)))
			if err != nil || f.Certificates.Size != c.want {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	le := binary.LittleEndian
	for _, c := range []struct {
		name   string
		change func([]byte) []byte
		none   bool
		want   string
	}{
		{"empty", func(b []byte) []byte { return nil }, true, ""},
		{"a script", func(b []byte) []byte { return []byte("#!/bin/sh\n" + strings.Repeat(" ", 100)) }, true, ""},
		{"only MZ", func(b []byte) []byte { return b[:64] }, true, ""},
		{"no PE header where MZ says", func(b []byte) []byte { le.PutUint32(b[0x3c:], 1<<32-1); return b }, true, ""},
		{"another signature", func(b []byte) []byte { b[coff] = 'N'; return b }, true, ""},
		{"97 sections", func(b []byte) []byte { le.PutUint16(b[coff+6:], 97); return b }, false, "not sane"},
		{"a huge optional header", func(b []byte) []byte { le.PutUint16(b[coff+20:], 65535); return b }, false, "not sane"},
		{"cut in the optional header", func(b []byte) []byte { return b[:optional+2] }, false, "optional header"},
		{"cut in the section table", func(b []byte) []byte { return b[:table+41] }, false, "section table"},
		{"cut in a section", func(b []byte) []byte { return b[:len(b)-510] }, false, "half written"},
		{"a section behind the end", func(b []byte) []byte { le.PutUint32(b[table+20:], 1<<32-1); return b }, false, "half written"},
		{"a section of 4 GiB", func(b []byte) []byte {
			le.PutUint32(b[table+8:], 1<<32-1)
			le.PutUint32(b[table+16:], 1<<32-1)
			return b
		}, false, "half written"},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := c.change(twoSections())
			f, err := pe.Read(bytes.NewReader(image), int64(len(image)))
			if err == nil {
				t.Fatalf("got %+v", f)
			}
			if errors.Is(err, pe.ErrNone) != c.none || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// What lies behind the size is not the image's.
func TestReadStaysInSize(t *testing.T) {
	image := twoSections()
	for size := range int64(len(image) - 512) {
		if f, err := pe.Read(bytes.NewReader(image), size); err == nil {
			t.Fatalf("of %d bytes: got %+v", size, f)
		}
	}
}

func TestReadSparse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.efi")
	image := twoSections()
	binary.LittleEndian.PutUint32(image[table+8:], 1<<32-1)
	binary.LittleEndian.PutUint32(image[table+16:], 1<<32-1)
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 5 << 30
	if err := os.Truncate(path, size); err != nil {
		t.Skipf("this file system takes no sparse file of %d bytes: %v", int64(size), err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	read, err := pe.Read(f, size)
	if err != nil || read.Sections[0].Size != 1<<32-1 {
		t.Fatalf("got %+v, %v", read, err)
	}
	if _, err := read.Sections[0].Text(f, 64<<10); err == nil {
		t.Error("4 GiB are taken for a text")
	}
}

func FuzzSections(f *testing.F) {
	f.Add(twoSections())
	f.Add([]byte("MZ"))
	f.Fuzz(func(t *testing.T, image []byte) {
		file, err := pe.Read(bytes.NewReader(image), int64(len(image)))
		if err != nil {
			return
		}
		if len(file.Sections) > 96 {
			t.Fatalf("%d sections", len(file.Sections))
		}
		for _, s := range append(file.Sections, file.Certificates) {
			if s.Size < 0 || s.Offset < 0 || s.Size > 0 && s.Offset+s.Size > int64(len(image)) {
				t.Fatalf("%+v lies outside of %d bytes", s, len(image))
			}
			if _, err := s.Text(bytes.NewReader(image), int64(len(image))); err != nil {
				t.Fatal(err)
			}
		}
	})
}
