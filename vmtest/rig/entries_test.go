package rig

import (
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
)

// A boot entry must leave it to luod to add what a live update takes, and be as the machine's start otherwise.
func TestEntryOptionsAreThoseOfTheStart(t *testing.T) {
	start := strings.Fields(machine.Config{}.CommandLine())
	want := slices.DeleteFunc(start, func(p string) bool { return p == "kho=on" || p == "liveupdate=on" })
	if got := strings.Fields(lab.EntryOptions); !slices.Equal(got, want) {
		t.Errorf("the entries have %q, the machine starts with %q", got, want)
	}
}
