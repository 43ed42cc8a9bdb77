package unitsection

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// MaxFile bounds what is read of a unit file, in bytes.
const MaxFile = 1 << 20

// Read reads a unit's files. One that is gone is left out: it was removed, and PID 1
// forgets it at its next reload.
func Read(paths []string) ([]File, error) {
	var files []File
	for _, path := range paths {
		f, err := os.Open(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
		f.Close()
		if err != nil {
			return nil, err
		}
		if len(data) > MaxFile {
			return nil, fmt.Errorf("%s is larger than %d bytes", path, MaxFile)
		}
		files = append(files, File{Path: path, Data: data})
	}
	return files, nil
}
