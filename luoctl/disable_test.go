package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fixed is what a PID 1 says of any unit.
type fixed map[string]any

func (f fixed) GetAllPropertiesContext(context.Context, string) (map[string]any, error) {
	return f, nil
}

// What PID 1 keeps in a unit's fd store is not dropped without a word.
func TestDisableLeavesWhatIsInTheFDStore(t *testing.T) {
	for name, c := range map[string]struct {
		facts   unitFacts
		force   bool
		refused bool
		warned  bool
	}{
		"empty":               {facts: unitFacts{}},
		"room of its own":     {facts: unitFacts{Stored: 8, StoreMax: 8}},
		"room by the drop-in": {facts: unitFacts{Stored: 1}, refused: true},
		"too little room":     {facts: unitFacts{Stored: 9, StoreMax: 8}, refused: true},
		"force":               {facts: unitFacts{Stored: 9, StoreMax: 8}, force: true, warned: true},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			path := filepath.Join(root, dropInPath("a.service"))
			if err := replaceFile(path, dropInHead); err != nil {
				t.Fatal(err)
			}
			for _, dryRun := range []bool{true, false} {
				r, err := disableUnit(root, "a.service", c.facts, c.force, dryRun)
				if (err != nil) != c.refused || (len(r.Warnings) > 0) != c.warned {
					t.Fatalf("%+v, %v", r, err)
				}
				if err != nil && !strings.Contains(err.Error(), "--force") {
					t.Errorf("it says no way out: %v", err)
				}
			}
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) == c.refused {
				t.Errorf("the drop-in: %v", err)
			}
		})
	}
}

// A drop-in may outlive its unit.
func TestDisableNeedsNoUnit(t *testing.T) {
	pid1 := fixed{"LoadState": "not-found", "ActiveState": "active", "NFileDescriptorStore": uint32(3)}
	if _, err := factsOf(t.Context(), pid1, "a.service"); err == nil {
		t.Error("it can be enabled")
	}
	facts, err := whateverIsSoOf(t.Context(), pid1, "a.service")
	if err != nil || facts.Stored != 3 {
		t.Errorf("%+v, %v", facts, err)
	}
}
