package layers

import (
	"fmt"
	"go/doc"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const architecture = "../../ARCHITECTURE.md"

// Every package has its line on the map, which is what its documentation begins with.
func TestEveryPackageIsOnTheMap(t *testing.T) {
	ours, _ := list(t)
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	_, have, is := strings.Cut(string(text), "(`UPDATE=1 go test ./internal/layers`).\n\n")
	if !is {
		t.Fatal("the map has no list of packages")
	}
	head := strings.TrimSuffix(string(text), have)
	var want strings.Builder
	for _, path := range slices.Sorted(maps.Keys(ours)) {
		first := new(doc.Package).Synopsis(ours[path].Doc)
		if first == "" {
			t.Errorf("%s has no documentation", path)
			continue
		}
		first = regexp.MustCompile(`^(Package|Command) \S+ `).ReplaceAllString(first, "")
		fmt.Fprintf(&want, "- `%s` %s\n", path, strings.TrimSuffix(first, "."))
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(architecture, []byte(head+want.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if have != want.String() {
		t.Errorf("ARCHITECTURE.md is out of date: run UPDATE=1 go test ./internal/layers")
	}
}

// What the map and the guide for changes name is there: files, packages, functions, types and variables.
func TestWhatTheMapNamesIsThere(t *testing.T) {
	text, err := os.ReadFile(architecture)
	if err != nil {
		t.Fatal(err)
	}
	walks, _, _ := strings.Cut(string(text), "## Packages")
	guide, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	walks += string(guide)
	var code strings.Builder
	ours, _ := list(t)
	for path := range ours {
		entries, err := os.ReadDir("../../" + path)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".go") && !strings.HasSuffix(e.Name(), "_test.go") {
				data, err := os.ReadFile("../../" + path + "/" + e.Name())
				if err != nil {
					t.Fatal(err)
				}
				code.Write(data)
			}
		}
	}
	for _, m := range regexp.MustCompile("`([a-zA-Z0-9_./-]+)`").FindAllStringSubmatch(walks, -1) {
		name := m[1]
		switch {
		case strings.HasPrefix(name, "/"):
		case strings.Contains(name, "/"):
			if _, err := os.Stat("../../" + name); err != nil {
				t.Errorf("the map names %s: %v", name, err)
			}
		case regexp.MustCompile(`^[a-z]+$`).MatchString(name) && ours[name].Name != "": // a folder
		default:
			last := name[strings.LastIndex(name, ".")+1:]
			if !regexp.MustCompile(`(?m)^(func (\(\w+ \*?\w+\) )?|type |var )`+regexp.QuoteMeta(last)+`\b`).MatchString(code.String()) && !strings.Contains(code.String(), name) {
				t.Errorf("the map names %s, which is nowhere", name)
			}
		}
	}
}
