package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/liveupdate/luod/internal/storeview"
)

// memfds is the kind that a kernel carries; the others are those of
// [storeview.Stored.Recreatable].
const memfds = "memfds"

// taking is what is taken over of a unit's store.
type taking struct {
	unit  string
	kinds []string
}

// parseTaking reads UNIT or UNIT=KIND,...; without kinds, memfds are taken over.
func parseTaking(arg string) (taking, error) {
	unit, kinds, given := strings.Cut(arg, "=")
	t := taking{unit: unit, kinds: []string{memfds}}
	if given {
		t.kinds = strings.Split(kinds, ",")
	}
	for _, kind := range t.kinds {
		if !slices.Contains([]string{memfds, storeview.Files, storeview.Sockets}, kind) {
			return t, fmt.Errorf("%q is none of memfds, files and sockets", kind)
		}
	}
	return t, nil
}

// wants says whether s is taken over.
func (t taking) wants(s storeview.Stored) bool {
	kind := memfds
	if !s.Memfd {
		var err error
		if kind, err = s.Recreatable(); err != nil {
			return false
		}
	}
	return slices.Contains(t.kinds, kind)
}
