package main

import (
	"os"
	"strings"
	"testing"
)

// Every attack is named in the manual, and makes a message that can be sent.
func TestEveryAttackIsInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../../packaging/man/luod.8")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(manual), "\n.SH SECURITY\n")
	section, _, _ = strings.Cut(section, "\n.SH ")
	for _, name := range names() {
		if !strings.Contains(section, "\n"+name) {
			t.Errorf("%q is missing", name)
		}
	}
	if n := len(names()); n < 30 {
		t.Errorf("there are %d", n)
	}
}
