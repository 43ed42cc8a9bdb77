package layers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every name of a D-Bus error is one that luod answers with, and it answers with no other.
func TestErrorsHaveTheirNamesFromOnePlace(t *testing.T) {
	names, err := os.ReadFile("../../client/errorname/errorname.go")
	if err != nil {
		t.Fatal(err)
	}
	code := map[string]string{}
	for _, dir := range []string{"../../luod", "../../internal"} {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				var data []byte
				data, err = os.ReadFile(path)
				code[path] = string(data)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	all := ""
	for path, text := range code {
		all += text
		if m := regexp.MustCompile(`fault\.(New\(|Fault\{Name: )"\w*"`).FindString(text); m != "" {
			t.Errorf("%s: %s: the names are in client/errorname", path, m)
		}
	}
	found := regexp.MustCompile(`(?m)^\t(\w+) += "`).FindAllStringSubmatch(string(names), -1)
	if len(found) < 40 {
		t.Fatalf("%d names", len(found))
	}
	for _, m := range found {
		if !regexp.MustCompile(`\berrorname\.` + m[1] + `\b`).MatchString(all) {
			t.Errorf("%s is said by nobody", m[1])
		}
	}
}
