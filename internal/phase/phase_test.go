package phase

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheDiagramIsTrue(t *testing.T) {
	var text strings.Builder
	text.WriteString("# Phases of a live update\n\nMade from the table in internal/phase/phase.go by its tests (`UPDATE=1 go test ./internal/phase`).\n\n```mermaid\nstateDiagram-v2\n    [*] --> idle\n")
	for _, tr := range Transitions {
		fmt.Fprintf(&text, "    %s --> %s: %s\n", tr.From, tr.To, tr.On)
	}
	text.WriteString("```\n")
	path := filepath.Join("..", "..", "luod", "states.md")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || string(have) != text.String() {
		t.Fatalf("%s is out of date (%v)", path, err)
	}
}

func TestThePhaseIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "record.json")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a record: %v", err)
	}
	for content, want := range map[string]Phase{`{"phase":"committed","generation":3}`: Committed, `{}`: "", `{`: "none"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if is, err := Read(path); is != want && (want != "none" || err == nil) {
			t.Errorf("%s: %q, %v", content, is, err)
		}
	}
}
