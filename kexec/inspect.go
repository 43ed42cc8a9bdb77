package kexec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// ImageInfo is what a kernel image says of itself.
type ImageInfo struct {
	// Arch is GOARCH's name of the architecture.
	Arch string
	// Version is the release as uname -r shows it, or empty where the image
	// does not tell (arm64).
	Version string
	// MaxCommandLine is the longest command line, in bytes without the NUL, that
	// kexec_file_load(2) takes for this image.
	MaxCommandLine int
}

// Offsets in a bzImage (Documentation/arch/x86/boot.rst) and in an arm64 Image
// (Documentation/arch/arm64/booting.rst).
const (
	offBootFlag    = 0x1fe
	offHeader      = 0x202
	offProtocol    = 0x206
	offVersion     = 0x20e
	offCmdlineSize = 0x238
	offArm64Magic  = 0x38
	headerSize     = 0x268

	// bzImage64_load of arch/x86/kernel/kexec-bzimage64.c counts the NUL and
	// keeps MAX_ELFCOREHDR_STR_LEN bytes free even where no crash kernel is
	// loaded; more is EINVAL.
	x86Reserved = 1 + 30

	// COMMAND_LINE_SIZE of arch/arm64/include/uapi/asm/setup.h.
	arm64CommandLine = 2048
)

// Inspect opens the image at path and reads its header. It refuses what is no
// regular file, and can't be held up by a FIFO or a device.
func Inspect(path string) (ImageInfo, error) {
	f, info, err := openImage(path)
	if err != nil {
		return ImageInfo{}, err
	}
	return info, f.Close()
}

// openImage opens a kernel image, which the caller owns.
func openImage(path string) (*os.File, ImageInfo, error) {
	f, err := open(path)
	if err != nil {
		return nil, ImageInfo{}, fmt.Errorf("read the kernel image: %w", err)
	}
	info, err := InspectReader(f)
	if err != nil {
		f.Close()
		return nil, ImageInfo{}, fmt.Errorf("read the kernel image: %s is not a kernel image: %w", path, err)
	}
	return f, info, nil
}

// open opens a regular, non-empty file, which the caller owns.
func open(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	f := os.NewFile(uintptr(fd), path)
	st, err := f.Stat()
	switch {
	case err != nil:
	case st.IsDir():
		err = fmt.Errorf("%s is a directory, not a file", path)
	case !st.Mode().IsRegular():
		err = fmt.Errorf("%s is not a regular file (%v)", path, st.Mode().Type())
	case st.Size() == 0:
		err = fmt.Errorf("%s is empty", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// InspectReader reads the header of an image. It reads at most the header and 256
// bytes of the version, whatever r holds.
func InspectReader(r io.ReaderAt) (ImageInfo, error) {
	head := make([]byte, headerSize)
	if n, err := r.ReadAt(head, 0); err != nil && (err != io.EOF || n < 0x40) {
		if err == io.EOF {
			return ImageInfo{}, fmt.Errorf("it has only %d bytes", n)
		}
		return ImageInfo{}, err
	}
	le := binary.LittleEndian
	switch {
	case le.Uint16(head[offBootFlag:]) == 0xaa55 && string(head[offHeader:offHeader+4]) == "HdrS":
		return inspectX86(r, head)
	case string(head[offArm64Magic:offArm64Magic+4]) == "ARM\x64":
		return ImageInfo{Arch: "arm64", MaxCommandLine: arm64CommandLine - 1}, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return ImageInfo{}, fmt.Errorf("it is compressed with gzip; unpack it first")
	case bytes.HasPrefix(head, []byte("MZ")):
		return ImageInfo{}, fmt.Errorf("it is a PE image without a Linux kernel's header; unpack it first if it is a unified kernel image")
	}
	return ImageInfo{}, fmt.Errorf("it has neither the header of a bzImage nor of an arm64 Image")
}

func inspectX86(r io.ReaderAt, head []byte) (ImageInfo, error) {
	le := binary.LittleEndian
	info := ImageInfo{Arch: "amd64", MaxCommandLine: 255}
	protocol := le.Uint16(head[offProtocol:])
	if protocol >= 0x206 {
		info.MaxCommandLine = int(min(le.Uint32(head[offCmdlineSize:]), 1<<16))
	}
	info.MaxCommandLine = max(info.MaxCommandLine-x86Reserved, 0)
	if at := le.Uint16(head[offVersion:]); at != 0 {
		text := make([]byte, 256)
		n, err := r.ReadAt(text, int64(at)+0x200)
		if err != nil && err != io.EOF {
			return ImageInfo{}, err
		}
		line, _, ended := bytes.Cut(text[:n], []byte{0})
		if !ended {
			return ImageInfo{}, fmt.Errorf("its version has no end")
		}
		info.Version, _, _ = strings.Cut(string(line), " ")
	}
	return info, nil
}
