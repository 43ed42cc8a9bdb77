package result

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// File is the path of the file; with "" nothing is written.
type File string

// FromEnvironment is the one that the unit asks for.
func FromEnvironment() File { return File(os.Getenv("LUOD_RESULT")) }

// Clear removes what an earlier run wrote, which would be taken for ours.
func (f File) Clear() error {
	if f == "" {
		return nil
	}
	if err := os.Remove(string(f)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the result of an earlier run: %w", err)
	}
	return nil
}

// Write writes text and a newline; whoever reads sees all of it or nothing.
func (f File) Write(text string) error {
	if f == "" {
		return nil
	}
	temp, err := os.CreateTemp(filepath.Dir(string(f)), ".result-*")
	if err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	_, err = temp.WriteString(text + "\n")
	err = errors.Join(err, temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), string(f))
	}
	if err != nil {
		os.Remove(temp.Name())
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
