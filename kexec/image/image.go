package image

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/liveupdate/luod/kexec/compression"
)

// Format is how a kernel is wrapped.
type Format string

const (
	BzImage Format = "bzImage"
	Arm64   Format = "Image"
	Gzip    Format = "Image.gz"
	Zboot   Format = "EFI zboot"
)

// Image is a kernel image. It reads from what Read was given, which must stay
// open.
type Image struct {
	Format Format
	// Arch is GOARCH's name of the architecture.
	Arch string
	// Version is the release as uname -r shows it, or empty where only the
	// payload tells (arm64: see Facts).
	Version string
	// MaxCommandLine is the longest command line, in bytes without the NUL, that
	// kexec_file_load(2) takes for this image.
	MaxCommandLine int
	// InitSize is the memory in bytes that the kernel needs from its load
	// address until it has set itself up, or 0 if the image doesn't tell.
	InitSize uint64

	from    io.ReaderAt
	size    int64
	payload section
	packed  compression.Format
}

// section is a part of the file.
type section struct{ offset, size int64 }

// MaxUnpacked bounds, in bytes, what a payload may unpack to.
const MaxUnpacked = 1 << 30

// Offsets in a bzImage (Documentation/arch/x86/boot.rst).
const (
	offSetupSects    = 0x1f1
	offBootFlag      = 0x1fe
	offHeader        = 0x202
	offProtocol      = 0x206
	offVersion       = 0x20e
	offXLoadFlags    = 0x236
	offCmdlineSize   = 0x238
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	offInitSize      = 0x260
	headerSize       = 0x268

	// Bits of xloadflags that arch/x86/kernel/kexec-bzimage64.c demands.
	kernel64         = 1 << 0
	canLoadAbove4G   = 1 << 1
	minProtocolKexec = 0x20c
)

const (
	// bzImage64_load of arch/x86/kernel/kexec-bzimage64.c counts the NUL and
	// keeps MAX_ELFCOREHDR_STR_LEN bytes free even where no crash kernel is
	// loaded; more is EINVAL.
	x86Reserved = 1 + 30

	// COMMAND_LINE_SIZE of arch/arm64/include/uapi/asm/setup.h.
	arm64CommandLine = 2048

	// Documentation/arch/arm64/booting.rst.
	offArm64ImageSize = 0x10
	offArm64Magic     = 0x38
	arm64HeaderSize   = 0x40

	// struct linux_efi_zboot_header, drivers/firmware/efi/libstub/zboot-header.S.
	offZbootMagic       = 0x04
	offZbootPayload     = 0x08
	offZbootSize        = 0x0c
	offZbootCompression = 0x18
)

// Read reads the header of the image of size bytes in r. It reads little of it,
// whatever r holds.
func Read(r io.ReaderAt, size int64) (*Image, error) {
	head := make([]byte, headerSize)
	n, err := r.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if n < arm64HeaderSize {
		return nil, fmt.Errorf("it has only %d bytes", n)
	}
	head = head[:n]
	le := binary.LittleEndian
	i := &Image{from: r, size: size}
	switch {
	case n == headerSize && le.Uint16(head[offBootFlag:]) == 0xaa55 && string(head[offHeader:offHeader+4]) == "HdrS":
		return i, i.readX86(head)
	case string(head[offArm64Magic:offArm64Magic+4]) == "ARM\x64":
		return i, i.readArm64(head)
	case string(head[:2]) == "MZ" && string(head[offZbootMagic:offZbootMagic+4]) == "zimg":
		return i, i.readZboot(head)
	case compression.Detect(head) == compression.Gzip:
		i.Format, i.packed, i.payload = Gzip, compression.Gzip, section{0, size}
		return i, i.readPacked()
	case string(head[:2]) == "MZ":
		return nil, errors.New("it is a PE image without a Linux kernel's header")
	}
	if format := compression.Detect(head); format != "" {
		return nil, fmt.Errorf("it is a file compressed with %s, which no boot loader takes for a kernel; unpack it first", format)
	}
	return nil, errors.New("it has neither the header of a bzImage nor of an arm64 Image")
}

func (i *Image) readX86(head []byte) error {
	le := binary.LittleEndian
	i.Format, i.Arch, i.MaxCommandLine = BzImage, "amd64", 255
	protocol := le.Uint16(head[offProtocol:])
	if protocol >= 0x206 {
		i.MaxCommandLine = int(min(le.Uint32(head[offCmdlineSize:]), 1<<16))
	}
	i.MaxCommandLine = max(i.MaxCommandLine-x86Reserved, 0)
	if at := le.Uint16(head[offVersion:]); at != 0 {
		text := make([]byte, 256)
		n, err := i.from.ReadAt(text, int64(at)+0x200)
		if err != nil && err != io.EOF {
			return err
		}
		line, _, ended := bytes.Cut(text[:n], []byte{0})
		if !ended {
			return errors.New("its version has no end")
		}
		i.Version, _, _ = strings.Cut(string(line), " ")
		if strings.ContainsFunc(i.Version, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' }) {
			return fmt.Errorf("its version %q is none", i.Version)
		}
	}
	if protocol < minProtocolKexec {
		return fmt.Errorf("its boot protocol %#x is too old for kexec_file_load, which takes %#x and newer", protocol, minProtocolKexec)
	}
	if flags := le.Uint16(head[offXLoadFlags:]); flags&kernel64 == 0 || flags&canLoadAbove4G == 0 {
		return errors.New("it is no relocatable 64-bit kernel, and kexec_file_load takes no other")
	}
	i.InitSize = uint64(le.Uint32(head[offInitSize:]))
	sectors := int64(head[offSetupSects])
	if sectors == 0 {
		sectors = 4
	}
	start := (sectors + 1) * 512
	i.payload = section{start + int64(le.Uint32(head[offPayloadOffset:])), int64(le.Uint32(head[offPayloadLength:]))}
	if i.payload.offset+i.payload.size > i.size {
		return fmt.Errorf("its payload ends at byte %d, and it has only %d: it is half written", i.payload.offset+i.payload.size, i.size)
	}
	var err error
	i.packed, err = i.detect()
	return err
}

// detect looks at the first bytes of the payload.
func (i *Image) detect() (compression.Format, error) {
	magic := make([]byte, min(16, i.payload.size))
	if _, err := i.from.ReadAt(magic, i.payload.offset); err != nil && err != io.EOF {
		return "", err
	}
	if bytes.HasPrefix(magic, []byte("\x7fELF")) {
		return "", nil
	}
	format := compression.Detect(magic)
	if format == "" {
		return "", fmt.Errorf("its payload is compressed in no way known (it begins with % x)", magic)
	}
	return format, nil
}

func (i *Image) readArm64(head []byte) error {
	i.Format, i.Arch, i.MaxCommandLine = Arm64, "arm64", arm64CommandLine-1
	i.InitSize = binary.LittleEndian.Uint64(head[offArm64ImageSize:])
	i.payload = section{0, i.size}
	return nil
}

// zbootCompressions are the names in a zboot header
// (drivers/firmware/efi/libstub/Makefile.zboot).
var zbootCompressions = map[string]compression.Format{
	"gzip": compression.Gzip, "lz4": compression.LZ4, "lzma": compression.LZMA,
	"lzo": compression.LZO, "xzkern": compression.XZ, "zstd": compression.Zstd, "zstd22": compression.Zstd,
}

func (i *Image) readZboot(head []byte) error {
	le := binary.LittleEndian
	i.Format = Zboot
	i.payload = section{int64(le.Uint32(head[offZbootPayload:])), int64(le.Uint32(head[offZbootSize:]))}
	if i.payload.offset+i.payload.size > i.size {
		return fmt.Errorf("its payload ends at byte %d, and it has only %d: it is half written", i.payload.offset+i.payload.size, i.size)
	}
	name, _, _ := strings.Cut(string(head[offZbootCompression:offArm64Magic]), "\x00")
	var known bool
	if i.packed, known = zbootCompressions[name]; !known {
		return fmt.Errorf("its payload is compressed with %q, which is not known", name)
	}
	return i.readPacked()
}

// readPacked reads the header of the Image inside.
func (i *Image) readPacked() error {
	r, err := i.Payload()
	if err != nil {
		return err
	}
	defer r.Close()
	head := make([]byte, arm64HeaderSize)
	if _, err := io.ReadFull(r, head); err != nil {
		return fmt.Errorf("unpack its head: %w", err)
	}
	if string(head[offArm64Magic:offArm64Magic+4]) != "ARM\x64" {
		return errors.New("what is packed in it is no arm64 Image")
	}
	i.Arch, i.MaxCommandLine = "arm64", arm64CommandLine-1
	i.InitSize = binary.LittleEndian.Uint64(head[offArm64ImageSize:])
	return nil
}

// Packed says whether kexec_file_load(2) wants the payload in place of the image:
// the arm64 loader (arch/arm64/kernel/kexec_image.c) takes only a bare Image.
func (i *Image) Packed() bool { return i.Format == Gzip || i.Format == Zboot }

// Payload returns the unpacked kernel, an ELF file for x86-64 and an Image for
// arm64. Reading fails with compression.ErrTooLarge after MaxUnpacked bytes. The
// caller closes it.
func (i *Image) Payload() (io.ReadCloser, error) {
	size := i.payload.size
	// Where the format itself doesn't say how much comes out, the kernel's build
	// appends it in four bytes (size_append in scripts/Makefile.lib).
	if i.Format != Gzip && i.packed != "" && i.packed != compression.Gzip {
		size -= 4
	}
	from := io.NewSectionReader(i.from, i.payload.offset, max(size, 0))
	if i.packed == "" {
		return io.NopCloser(from), nil
	}
	return compression.NewReader(i.packed, from, MaxUnpacked)
}
