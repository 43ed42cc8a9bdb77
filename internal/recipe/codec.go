package recipe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/memfd"
)

// MaxSize bounds a description in bytes: a path of 4 KiB, escaped, and the rest.
const MaxSize = 32 << 10

// seals are those of a memfd that holds a description.
const seals = unix.F_SEAL_WRITE | unix.F_SEAL_GROW | unix.F_SEAL_SHRINK | unix.F_SEAL_SEAL

// Decode reads a description and refuses whatever is not one to the letter.
func Decode(data []byte) (Recipe, error) {
	var d Recipe
	if len(data) > MaxSize {
		return d, fmt.Errorf("read a description: it has %d bytes, more than %d", len(data), MaxSize)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		return Recipe{}, fmt.Errorf("read a description: %w", err)
	}
	if _, err := decoder.Token(); err != io.EOF {
		return Recipe{}, errors.New("read a description: something follows it")
	}
	if err := d.Check(); err != nil {
		return Recipe{}, fmt.Errorf("read a description: %w", err)
	}
	return d, nil
}

// Memfd returns a sealed memfd with d, which the caller owns.
func (d Recipe) Memfd() (*os.File, error) {
	d.Version = Version
	if err := d.Check(); err != nil {
		return nil, fmt.Errorf("write a description: %w", err)
	}
	data, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("write a description: %w", err)
	}
	// What JSON can't hold, as a path that is no UTF-8, would come back as another.
	if again, err := Decode(data); err != nil || !d.Alike(again) || d.String() != again.String() {
		return nil, fmt.Errorf("write a description: %s can't be written down (%v)", d, err)
	}
	f, err := memfd.Of("luod-description", data)
	if err != nil {
		return nil, fmt.Errorf("write a description: %w", err)
	}
	return f, nil
}

// Read borrows f and returns the description in it; f has to be sealed, so that
// nobody changes it between a check and its use.
func Read(f *os.File) (Recipe, error) {
	defer runtime.KeepAlive(f)
	have, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil || have&seals != seals {
		return Recipe{}, fmt.Errorf("read a description: it is not in a sealed memfd (seals %#x, %v)", have, err)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, 0, MaxSize+1))
	if err != nil {
		return Recipe{}, fmt.Errorf("read a description: %w", err)
	}
	return Decode(data)
}
