package main

import (
	"path"
	"slices"
)

// unitTypes are the endings of units' names (systemd.unit(5)).
var unitTypes = []string{".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".slice", ".scope"}

// unitName is the unit that arg names: as with systemctl(1), a name without a type is
// a service's.
func unitName(arg string) string {
	if slices.Contains(unitTypes, path.Ext(arg)) {
		return arg
	}
	return arg + ".service"
}
