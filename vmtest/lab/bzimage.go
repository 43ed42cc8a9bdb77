package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// bzImageRelease reads what `uname -r` will say from a kernel image's setup header (Documentation/arch/x86/boot.rst:
// "HdrS" at 0x202, kernel_version at 0x20e, counted from 0x200).
func bzImageRelease(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read a kernel image: %w", err)
	}
	defer f.Close()
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fmt.Errorf("read kernel image %s: %w", path, err)
	}
	head = head[:n]
	if len(head) < 0x210 || string(head[0x202:0x206]) != "HdrS" {
		return "", fmt.Errorf("read kernel image %s: it is no bzImage", path)
	}
	at := 0x200 + int(binary.LittleEndian.Uint16(head[0x20e:]))
	if at >= len(head) {
		return "", fmt.Errorf("read kernel image %s: its version lies outside of its header", path)
	}
	text, _, _ := bytes.Cut(head[at:], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	if release == "" {
		return "", fmt.Errorf("read kernel image %s: it has no version", path)
	}
	return release, nil
}
