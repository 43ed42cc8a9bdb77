// Package imagetest makes small kernel images for tests: the header that a reader
// looks at, and a payload. They boot nowhere. Real ones are in the lab.
package imagetest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
)

// InitSize is what BzImage says that a kernel needs, in bytes.
const InitSize = 16 << 20

// BzImage returns an image that says release, takes size bytes of command line and
// holds payload, which is packed already or an ELF file. Its bytes 0x40 to 0x1f0
// are free for another header.
func BzImage(release string, size uint32, payload []byte) []byte {
	b := make([]byte, 4096)
	le := binary.LittleEndian
	b[0x1f1] = 7
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	le.PutUint16(b[0x20e:], 0x400)
	le.PutUint16(b[0x236:], 3)
	le.PutUint32(b[0x238:], size)
	le.PutUint32(b[0x24c:], uint32(len(payload)))
	le.PutUint32(b[0x260:], InitSize)
	copy(b[0x600:], release+" (builder) #1 SMP\x00")
	return append(b, payload...)
}

// Gzip packs data.
func Gzip(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}
