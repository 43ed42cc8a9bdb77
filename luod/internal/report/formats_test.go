package report

import (
	"encoding/json"
	"os"
	"testing"
)

// Reports of earlier updates stay readable.
func TestReportsOfOlderLuodsAreRead(t *testing.T) {
	want, err := os.ReadFile("testdata/report.json")
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(want, &r); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(r, "", "  ")
	if err != nil || string(got)+"\n" != string(want) {
		t.Errorf("it is read as\n%s\n%v", got, err)
	}
}
