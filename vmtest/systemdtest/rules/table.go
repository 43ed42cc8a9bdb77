package rules

import (
	"fmt"
	"slices"
)

// All are the rules, in the order in which one system can go through them: the last shuts it down.
func All() []Rule { return slices.Concat(storing, lives, collection, dependencies, ends) }

// prefix tells a rule's units from those of the others.
func prefix(number int) string { return fmt.Sprintf("r%02d-", number) }

// own gives a unit, and those that it names, their full names.
func own(prefix string, u Unit) Unit {
	all := func(names []string) (list []string) {
		for _, n := range names {
			list = append(list, prefix+FullName(n))
		}
		return list
	}
	u.Name = prefix + FullName(u.Name)
	u.Wants, u.Requires, u.BindsTo, u.PartOf, u.After = all(u.Wants), all(u.Requires), all(u.BindsTo), all(u.PartOf), all(u.After)
	if u.Witness != "" {
		u.Witness = prefix + FullName(u.Witness)
	}
	return u
}

// Units are those of all rules.
func Units() []Unit {
	var units []Unit
	for i, r := range All() {
		for _, u := range r.Units {
			units = append(units, own(prefix(i), u))
		}
	}
	return units
}
