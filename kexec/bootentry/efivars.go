package bootentry

import (
	"encoding/binary"
	"unicode/utf16"
)

// loaderVendor is the vendor of the Boot Loader Interface's variables.
const loaderVendor = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

// maxVariable bounds an EFI variable. An entry's ID has at most 255 characters
// (UAPI.1).
const maxVariable = 4 << 10

// loaderVariable reads an EFI variable, or returns "": 4 bytes of attributes, and
// UTF-16 with a NUL (Documentation/filesystems/efivarfs.rst).
func (s System) loaderVariable(name string) string {
	data, err := readFile(s.path("sys/firmware/efi/efivars", name+"-"+loaderVendor), maxVariable)
	if err != nil || len(data) < 4 {
		return ""
	}
	var units []uint16
	for data = data[4:]; len(data) >= 2; data = data[2:] {
		u := binary.LittleEndian.Uint16(data)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
