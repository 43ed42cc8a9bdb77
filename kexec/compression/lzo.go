package compression

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/anchore/go-lzo"
)

// lzoReader reads the container that lzop makes, as far as lib/decompress_unlzo.c
// of the kernel does.
type lzoReader struct {
	from          io.Reader
	flags         uint32
	packed, block []byte
	rest          []byte
	done          bool
}

// From lzop's conf.h and lib/decompress_unlzo.c.
const (
	lzoMagicSize  = 9
	lzoMaxBlock   = 64 << 20
	lzoAdlerD     = 1 << 0
	lzoAdlerC     = 1 << 1
	lzoExtraField = 1 << 6
	lzoCRCD       = 1 << 8
	lzoCRCC       = 1 << 9
	lzoFilter     = 1 << 11
	lzoWithLevel  = 0x0940
)

func newLZO(r io.Reader) (*lzoReader, error) {
	// The header: magic, version, library version, [version needed], method,
	// [level], flags, [filter], mode, mtime, [mtime high], name, checksum.
	z := &lzoReader{from: r}
	head := make([]byte, lzoMagicSize+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read lzop's header: %w", err)
	}
	version := binary.BigEndian.Uint16(head[lzoMagicSize:])
	skip := 1
	if version >= lzoWithLevel {
		skip = 4
	}
	if _, err := io.ReadFull(r, make([]byte, skip)); err != nil {
		return nil, fmt.Errorf("read lzop's header: %w", err)
	}
	var err error
	if z.flags, err = z.word(); err != nil {
		return nil, err
	}
	if z.flags&lzoExtraField != 0 {
		return nil, errors.New("lzop's extra field is not supported")
	}
	skip = 8
	if z.flags&lzoFilter != 0 {
		skip += 4
	}
	if version >= lzoWithLevel {
		skip += 4
	}
	head = make([]byte, skip+1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("read lzop's header: %w", err)
	}
	if _, err := io.ReadFull(r, make([]byte, int(head[skip])+4)); err != nil {
		return nil, fmt.Errorf("read lzop's header: %w", err)
	}
	return z, nil
}

func (z *lzoReader) word() (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(z.from, b[:]); err != nil {
		return 0, fmt.Errorf("read lzop's block: %w", err)
	}
	return binary.BigEndian.Uint32(b[:]), nil
}

func (z *lzoReader) Read(b []byte) (int, error) {
	for len(z.rest) == 0 {
		if z.done {
			return 0, io.EOF
		}
		if err := z.next(); err != nil {
			return 0, err
		}
	}
	n := copy(b, z.rest)
	z.rest = z.rest[n:]
	return n, nil
}

func (z *lzoReader) next() error {
	size, err := z.word()
	if err != nil {
		return err
	}
	if size == 0 {
		z.done = true
		return nil
	}
	packed, err := z.word()
	if err != nil {
		return err
	}
	if size > lzoMaxBlock || packed > size {
		return fmt.Errorf("lzop's block of %d bytes, unpacked %d, is not sane", packed, size)
	}
	sums := 0
	for _, flag := range []uint32{lzoAdlerD, lzoCRCD} {
		if z.flags&flag != 0 {
			sums += 4
		}
	}
	for _, flag := range []uint32{lzoAdlerC, lzoCRCC} {
		if z.flags&flag != 0 && packed < size {
			sums += 4
		}
	}
	if _, err := io.ReadFull(z.from, make([]byte, sums)); err != nil {
		return fmt.Errorf("read lzop's block: %w", err)
	}
	if z.packed, err = fill(z.from, z.packed, int(packed)); err != nil {
		return fmt.Errorf("read lzop's block: %w", err)
	}
	if packed == size {
		z.rest = z.packed
		return nil
	}
	if cap(z.block) < int(size) {
		z.block = make([]byte, size)
	}
	n, err := lzo.Decompress(z.packed, z.block[:size])
	if err != nil {
		return err
	}
	z.rest = z.block[:n]
	return nil
}

// fill reads n bytes into b or a larger one. It grows with what really comes, so
// that a header's lie costs no memory.
func fill(r io.Reader, b []byte, n int) ([]byte, error) {
	b = b[:0]
	for len(b) < n {
		step := min(n-len(b), 1<<20)
		at := len(b)
		b = append(b, make([]byte, step)...)
		if _, err := io.ReadFull(r, b[at:]); err != nil {
			return b, err
		}
	}
	return b, nil
}
