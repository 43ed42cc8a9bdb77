// Package petest makes small PE images for tests: the headers that a reader looks
// at and the sections' bytes. They run nowhere. Real ones come from ukify in the
// lab.
package petest

import "encoding/binary"

// Section is one to put in.
type Section struct {
	Name string
	Data []byte
}

// Image returns a PE32+ image for machine with sections in this order.
func Image(machine uint16, sections ...Section) []byte {
	const header, optional = 0x80, 160
	le := binary.LittleEndian
	size := header + 24 + optional + 40*len(sections)
	b := make([]byte, (size+511)&^511)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], header)
	copy(b[header:], "PE\x00\x00")
	le.PutUint16(b[header+4:], machine)
	le.PutUint16(b[header+6:], uint16(len(sections)))
	le.PutUint16(b[header+20:], optional)
	le.PutUint16(b[header+24:], 0x20b)
	for i, s := range sections {
		at := header + 24 + optional + 40*i
		copy(b[at:at+8], s.Name)
		le.PutUint32(b[at+8:], uint32(len(s.Data)))
		le.PutUint32(b[at+16:], uint32((len(s.Data)+511)&^511))
		le.PutUint32(b[at+20:], uint32(len(b)))
		b = append(b, s.Data...)
		b = append(b, make([]byte, -len(s.Data)&511)...)
	}
	return b
}

// Sign puts a PE header without sections into an image that has none at the bytes
// 0x80 to 0x138, as a kernel with an EFI stub has one, and der behind the image as
// its signature.
func Sign(image, der []byte) []byte {
	const header, optional = 0x80, 160
	le := binary.LittleEndian
	b := append(append([]byte{}, image...), make([]byte, -len(image)&7)...)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], header)
	copy(b[header:], "PE\x00\x00")
	le.PutUint16(b[header+4:], 0x8664)
	le.PutUint16(b[header+20:], optional)
	le.PutUint16(b[header+24:], 0x20b)
	size := 8 + len(der)
	le.PutUint32(b[header+24+144:], uint32(len(b)))
	le.PutUint32(b[header+24+148:], uint32(size))
	// WIN_CERTIFICATE of the PE format.
	b = le.AppendUint32(b, uint32(size))
	b = le.AppendUint16(b, 0x0200)
	b = le.AppendUint16(b, 2)
	return append(b, der...)
}
