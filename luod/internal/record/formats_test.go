package record

import (
	"os"
	"path/filepath"
	"testing"
)

// A luod that takes another's place in the same boot, after an upgrade, loses nothing of
// what that one wrote down. testdata was written by 0.1.0 with every field that it had,
// and is never written again.
func TestRecordsOfOlderLuodsAreRead(t *testing.T) {
	r, err := Read("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := r.Write(filepath.Join(t.TempDir(), "record.json"), nil)
	if err != nil || string(got) != string(want) {
		t.Errorf("it is read as\n%s\n%v", got, err)
	}
}
