package rig

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/vmtest/lab"
)

// OtherFormatKernel is where a machine with boot entries has a kernel that speaks
// another handover format. It is to be refused and never booted.
const OtherFormatKernel = "/boot/luod-test/vmlinuz-otherformat"

// otherFormat makes a copy of a kernel that says another version of the LUO's
// handover format.
func otherFormat(kernel lab.Kernel) (lab.File, error) {
	data, err := os.ReadFile(kernel.Image)
	if err != nil {
		return lab.File{}, fmt.Errorf("read the kernel: %w", err)
	}
	parsed, err := image.Read(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return lab.File{}, err
	}
	unpack, err := parsed.Payload()
	if err != nil {
		return lab.File{}, fmt.Errorf("unpack the kernel: %w", err)
	}
	defer unpack.Close()
	payload, err := io.ReadAll(unpack)
	if err != nil {
		return lab.File{}, fmt.Errorf("unpack the kernel: %w", err)
	}
	if n := bytes.Count(payload, []byte("\x00luo-v5\x00")); n != 1 {
		return lab.File{}, fmt.Errorf("change the kernel's handover format: luo-v5 is %d times in %s", n, kernel.Image)
	}
	payload = bytes.Replace(payload, []byte("\x00luo-v5\x00"), []byte("\x00luo-v9\x00"), 1)
	var packed bytes.Buffer
	w, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	if err != nil {
		return lab.File{}, err
	}
	if _, err := w.Write(payload); err != nil {
		return lab.File{}, err
	}
	if err := w.Close(); err != nil {
		return lab.File{}, err
	}
	// Documentation/arch/x86/boot.rst: setup_sects, payload_offset and
	// payload_length.
	le := binary.LittleEndian
	start := (int(data[0x1f1])+1)*512 + int(le.Uint32(data[0x248:]))
	size := int(le.Uint32(data[0x24c:]))
	changed := append(bytes.Clone(data[:start]), packed.Bytes()...)
	changed = append(changed, data[start+size:]...)
	le.PutUint32(changed[0x24c:], uint32(packed.Len()))
	return lab.File{Path: OtherFormatKernel, Mode: 0o644, Data: changed}, nil
}
