package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/unitsection"
)

// dropIn writes what p says in systemd's syntax.
func (p participation) dropIn(unit string, facts unitFacts) (string, error) {
	if p.preserve == "" {
		p.preserve = p.usual(facts)
	}
	if len(p.memfds)+len(p.directories)+len(p.recreate) > 0 && !p.stored() {
		return "", fmt.Errorf("enable %s: --memfd, --directory and --recreate are for --preserve=fdstore, and this is --preserve=%s: a service that speaks D-Bus makes its own", unit, p.preserve)
	}
	if p.storePreserve && !p.stored() {
		return "", fmt.Errorf("enable %s: --fd-store-preserve is for --preserve=fdstore, and this is --preserve=%s", unit, p.preserve)
	}
	if p.stored() && len(facts.Undone) > 0 {
		undone := slices.Sorted(maps.Values(facts.Undone))
		return "", fmt.Errorf("enable %s: luod-reissue could give nothing back: %s, which is read after %s; take that out", unit, strings.Join(undone, ", "), dropInName)
	}
	if p.storePreserve && facts.NoPreserve {
		return "", fmt.Errorf("enable %s: --fd-store-preserve: this systemd knows no FileDescriptorStorePreserve= (254 and newer do)", unit)
	}
	var b strings.Builder
	b.WriteString(dropInHead)
	b.WriteString("[Unit]\nWants=luod.service\nAfter=luod.service\n")
	if p.early {
		if p.preserve != "fdstore" {
			return "", fmt.Errorf("enable %s: --early is for --preserve=fdstore, and this is --preserve=%s: before everything else there is no bus to speak to luod over", unit, p.preserve)
		}
		if err := facts.canBeEarly(unit); err != nil {
			return "", fmt.Errorf("enable %s: %w", unit, err)
		}
		b.WriteString(earlyLines)
	}
	b.WriteString("\n[X-LiveUpdate]\n")
	for _, line := range [][2]string{
		{"Preserve", p.preserve}, {"TimeoutSec", p.timeout}, {"OnFailure", p.onFailure}, {"Verify", p.verify},
		{"Directories", strings.Join(p.directories, " ")}, {"Recreate", strings.Join(p.recreate, " ")}, {"Aliases", strings.Join(p.aliases, " ")},
		{"After", strings.Join(p.after, " ")}, {"Before", strings.Join(p.before, " ")},
	} {
		if line[1] != "" {
			fmt.Fprintf(&b, "%s=%s\n", line[0], line[1])
		}
	}
	if p.stored() {
		b.WriteString("\n[Service]\nExecStartPre=+" + reissue)
		for _, m := range p.memfds {
			if strings.ContainsFunc(m, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'\%$;`, r) }) {
				return "", fmt.Errorf("enable %s: --memfd=%s: the name has characters that a unit file can't hold", unit, m)
			}
			b.WriteString(" --memfd=" + m)
		}
		b.WriteString("\n")
		// Not what PID 1 says: that is with this line, once it is written.
		if !lets(facts.NotifyAccess) {
			b.WriteString("NotifyAccess=exec\n")
		}
		if len(p.directories) > 0 {
			// It has to be there still when the unit has stopped.
			b.WriteString("RuntimeDirectoryPreserve=yes\n")
		}
		fmt.Fprintf(&b, "FileDescriptorStoreMax=%d\n", max(facts.StoreMax, p.storeMax, storeMax))
		if p.storePreserve {
			b.WriteString("FileDescriptorStorePreserve=yes\n")
		}
	}
	text := b.String()
	_, warnings, err := unitsection.Parse(unit, []unitsection.File{{Path: "the drop-in", Data: []byte(text)}})
	if err == nil && len(warnings) > 0 {
		err = warnings[0]
	}
	if err != nil {
		return "", fmt.Errorf("enable %s: %w", unit, err)
	}
	return text, nil
}

// earlyLines take a service out of the order of an ordinary boot, and leave in what
// systemd.service(5) adds by default for the shutdown.
const earlyLines = `DefaultDependencies=no
Wants=systemd-remount-fs.service
After=systemd-remount-fs.service
Conflicts=shutdown.target
Before=shutdown.target luod-restore.target
`

// earlierChoices reads what enable wrote before, perhaps that of an older luod. Lines
// that it doesn't write come back in foreign: somebody else has added them.
func earlierChoices(text string) (p participation, foreign []string) {
	early := assignments("[Unit]\nWants=luod.service\nAfter=luod.service\n" + earlyLines)
	for _, a := range assignments(text) {
		known := true
		switch {
		case a.section == "Unit":
			known = slices.Contains(early, a)
			p.early = p.early || a.key == "DefaultDependencies" && known
		case a.section == unitsection.Name:
			known = p.declare(a.key, a.value)
		case a.section == "Service":
			known = p.serve(a.key, a.value)
		default:
			known = false
		}
		if !known {
			foreign = append(foreign, a.key+"="+a.value)
		}
	}
	return p, foreign
}

func (p *participation) declare(key, value string) bool {
	one := map[string]*string{"Preserve": &p.preserve, "TimeoutSec": &p.timeout, "OnFailure": &p.onFailure, "Verify": &p.verify}
	if at := one[key]; at != nil {
		*at = value
		return true
	}
	many := map[string]*[]string{"Directories": &p.directories, "Recreate": &p.recreate, "Aliases": &p.aliases, "After": &p.after, "Before": &p.before}
	at := many[key]
	if at == nil {
		return false
	}
	if value == "" {
		*at = nil
	}
	*at = append(*at, strings.Fields(value)...)
	return true
}

func (p *participation) serve(key, value string) bool {
	switch key {
	case "ExecStartPre":
		words := strings.Fields(value)
		if len(words) == 0 || words[0] != "+"+reissue {
			return false
		}
		known := true
		for _, w := range words[1:] {
			memfd, is := strings.CutPrefix(w, "--memfd=")
			if is {
				p.memfds = append(p.memfds, memfd)
			}
			known = known && is
		}
		return known
	case "FileDescriptorStoreMax":
		n, err := strconv.ParseUint(value, 10, 32)
		p.storeMax = uint32(n)
		return err == nil
	case "FileDescriptorStorePreserve":
		p.storePreserve = value == "yes"
		return p.storePreserve
	case "NotifyAccess":
		return value == "exec"
	case "RuntimeDirectoryPreserve":
		return value == "yes"
	}
	return false
}
