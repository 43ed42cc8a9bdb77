package compression

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"
)

// Format is a compression as the kernel's configuration names it, in lower case:
// CONFIG_KERNEL_GZIP, CONFIG_RD_GZIP.
type Format string

// The formats of lib/decompress.c of the kernel.
const (
	Gzip  Format = "gzip"
	Bzip2 Format = "bzip2"
	LZMA  Format = "lzma"
	XZ    Format = "xz"
	LZO   Format = "lzo"
	LZ4   Format = "lz4"
	Zstd  Format = "zstd"
)

// magics are the first bytes (compressed_formats in lib/decompress.c). gzip's
// old magic 0x1f 0x9e and the frame format of lz4 are not in use.
var magics = []struct {
	format Format
	bytes  string
}{
	{Gzip, "\x1f\x8b"},
	{Bzip2, "BZh"},
	{LZMA, "\x5d\x00\x00"},
	{XZ, "\xfd7zXZ\x00"},
	{LZO, "\x89LZO\x00\r\n"},
	{LZ4, "\x02\x21\x4c\x18"},
	{Zstd, "\x28\xb5\x2f\xfd"},
}

// Detect returns the format whose magic head begins with, or "".
func Detect(head []byte) Format {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.bytes)) {
			return m.format
		}
	}
	return ""
}

// MaxWindow bounds the dictionary or window, in bytes. The kernel's build uses at
// most 128 MiB (zstd --ultra -22 in scripts/Makefile.lib).
const MaxWindow = 128 << 20

// ErrTooLarge says that more came out than was allowed.
var ErrTooLarge = errors.New("unpacked it is larger than anything sensible")

// NewReader returns what r unpacks to. Reading fails with ErrTooLarge once limit
// bytes are exceeded. Close it to free its memory; r is not closed.
func NewReader(format Format, r io.Reader, limit int64) (io.ReadCloser, error) {
	r = bufio.NewReaderSize(r, 1<<16)
	var out io.Reader
	var err error
	closer := func() {}
	switch format {
	case Gzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(r); err == nil {
			// What follows the stream in a kernel or initrd is no second one.
			z.Multistream(false)
			out = z
		}
	case Bzip2:
		out = bzip2.NewReader(r)
	case LZMA:
		out, err = lzma.ReaderConfig{DictCap: MaxWindow}.NewReader(r)
	case XZ:
		var z *xz.Reader
		if z, err = xz.NewReader(r, MaxWindow); err == nil {
			z.Multistream(false)
			out = z
		}
	case LZO:
		out, err = newLZO(r)
	case LZ4:
		out = lz4.NewReader(r)
	case Zstd:
		var z *zstd.Decoder
		z, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true),
			zstd.WithDecoderMaxWindow(MaxWindow), zstd.WithDecoderMaxMemory(uint64(max(limit, 1))), zstd.IgnoreChecksum(true))
		if err == nil {
			out, closer = z, z.Close
		}
	default:
		return nil, fmt.Errorf("unpack: unknown compression %q", format)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", format, err)
	}
	return &reader{format, out, limit, closer}, nil
}

type reader struct {
	format Format
	from   io.Reader
	left   int64
	close  func()
}

func (r *reader) Read(b []byte) (int, error) {
	if r.left < 0 {
		return 0, fmt.Errorf("unpack %s: %w", r.format, ErrTooLarge)
	}
	n, err := r.from.Read(b)
	r.left -= int64(n)
	if err != nil && err != io.EOF {
		err = fmt.Errorf("unpack %s: %w", r.format, err)
	}
	return n, err
}

func (r *reader) Close() error {
	r.close()
	return nil
}
