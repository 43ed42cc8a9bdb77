package manifest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// What is on its way from an older luod, with every field that it had, is read whole:
// testdata was written by 0.1.0, and is never written again.
func TestManifestsOfOlderLuodsAreRead(t *testing.T) {
	want, err := os.ReadFile("testdata/manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []int{2, 3} {
		data, err := os.ReadFile(fmt.Sprintf("testdata/version-%d.manifest", version))
		if err != nil {
			t.Fatal(err)
		}
		m, err := Decode(bytes.NewReader(data))
		if err != nil {
			t.Errorf("version %d: %v", version, err)
			continue
		}
		got, err := json.MarshalIndent(m, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if string(got)+"\n" != string(want) {
			t.Errorf("version %d is read as\n%s", version, got)
		}
	}
}
