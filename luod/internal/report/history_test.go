package report

import (
	"fmt"
	"os"
	"testing"
	"time"
)

func TestOldReportsAreForgotten(t *testing.T) {
	h := History(t.TempDir())
	for i := range uint64(maxHistory + 5) {
		if err := h.Keep(&Report{Generation: i}); err != nil {
			t.Fatal(err)
		}
		// As if each were an hour later.
		at := time.Unix(int64(i)*3600, 0)
		if err := os.Chtimes(h.path(i), at, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.prune(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(string(h))
	if err != nil || len(entries) != maxHistory || entries[0].Name() != fmt.Sprintf("%08d.json", 5) {
		t.Fatalf("%d reports, the first %s, %v", len(entries), entries[0].Name(), err)
	}
}
