package lab

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

func TestBzImageRelease(t *testing.T) {
	image := make([]byte, 4096)
	copy(image[0x202:], "HdrS")
	binary.LittleEndian.PutUint16(image[0x20e:], 0x300)
	copy(image[0x500:], "7.3.4-luo (lab@luod) #1 SMP\x00")
	good := filepath.Join(t.TempDir(), "vmlinuz")
	if err := os.WriteFile(good, image, 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := bzImageRelease(good); err != nil || got != "7.3.4-luo" {
		t.Errorf("got %q, %v", got, err)
	}
	for name, data := range map[string][]byte{"empty": nil, "short": image[:0x20f], "no header": make([]byte, 4096), "cut": image[:0x400]} {
		bad := filepath.Join(t.TempDir(), "vmlinuz")
		if err := os.WriteFile(bad, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := bzImageRelease(bad); err == nil {
			t.Errorf("%s: got %q", name, got)
		}
	}
}
