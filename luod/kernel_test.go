package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestOnlyATaggedLuodHasAFakeKernel keeps what tests need out of what is packaged.
func TestOnlyATaggedLuodHasAFakeKernel(t *testing.T) {
	for tags, want := range map[string]bool{"": false, "luofake": true} {
		out, err := exec.Command("go", "list", "-deps", "-tags="+tags, ".").Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(out), "luofake"); got != want {
			t.Errorf("with the tags %q luod has a fake kernel: %t", tags, got)
		}
	}
	for _, path := range []string{"../Makefile", "../packaging/debian/rules"} {
		// The line that only looks at it.
		out, err := exec.Command("grep", "-c", "build.*luofake", path).Output()
		if strings.TrimSpace(string(out)) != "0" {
			t.Errorf("%s builds with the tag: %s, %v", path, out, err)
		}
	}
}
