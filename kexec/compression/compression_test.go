package compression

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"testing"
)

// plain is the SHA-256 of what each file of testdata unpacks to, made by gzip -9,
// bzip2 -9, lzma -9, xz --check=crc32 --x86 --lzma2=dict=1MiB, lzop -9, lz4 -l -9
// and zstd -19: the kernel's own way.
const plain, plainSize = "a44d69ede1ed15ea333233cfbd23b6b4faa9e9d2f0ff18277bce4f6179cb3789", 96011

var formats = []Format{Gzip, Bzip2, LZMA, XZ, LZO, LZ4, Zstd}

func packed(t testing.TB, f Format) []byte {
	data, err := os.ReadFile("testdata/" + string(f))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func unpack(f Format, data []byte, limit int64) ([]byte, error) {
	r, err := NewReader(f, bytes.NewReader(data), limit)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(io.LimitReader(r, 16<<20))
}

func TestEveryFormatIsKnownAndUnpacked(t *testing.T) {
	for _, f := range formats {
		data := packed(t, f)
		if got := Detect(data); got != f {
			t.Errorf("%s was taken for %q", f, got)
		}
		got, err := unpack(f, data, plainSize)
		sum := sha256.Sum256(got)
		if err != nil || hex.EncodeToString(sum[:]) != plain {
			t.Errorf("%s: %d bytes, %v", f, len(got), err)
		}
	}
}

func TestMoreThanAllowedIsAnError(t *testing.T) {
	for _, f := range formats {
		if got, err := unpack(f, packed(t, f), 1000); err == nil {
			t.Errorf("%s: %d bytes without an error", f, len(got))
		} else if f != Zstd && !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestWhatIsCutOffIsAnError(t *testing.T) {
	for _, f := range formats {
		for _, n := range []int{3, 40, len(packed(t, f)) / 2} {
			if got, err := unpack(f, packed(t, f)[:n], 1<<20); err == nil && len(got) == plainSize {
				t.Errorf("%s: all of it from %d bytes", f, n)
			} else if err == nil && f != LZ4 {
				t.Errorf("%s: %d bytes of it gave %d and no error", f, n, len(got))
			}
		}
	}
	if _, err := NewReader("rot13", bytes.NewReader(nil), 1); err == nil {
		t.Error("an unknown format was taken")
	}
	if got := Detect([]byte("hello")); got != "" {
		t.Errorf("text was taken for %s", got)
	}
}

// What a file's header promises must cost no memory before it is there.
func FuzzReader(f *testing.F) {
	for _, format := range formats {
		f.Add(packed(f, format))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		format := Detect(data)
		if format == "" {
			return
		}
		got, _ := unpack(format, data, 1<<20)
		if len(got) > 16<<20 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}
