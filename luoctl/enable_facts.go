package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/unitsection"
)

// unitFacts are what is so of a unit without the drop-in that enable writes. They must
// not depend on that one: what enable writes has to be the same however often it runs.
type unitFacts struct {
	// NotifyAccess and StoreMax are what the unit's own files set; empty and 0 where
	// none does.
	NotifyAccess string
	StoreMax     uint32
	// Undone says by setting what in a drop-in that is read after ours keeps
	// luod-reissue from working, whatever ours says.
	Undone  map[string]string
	Running bool
	// Type is the service's, and Needs and After are the units that it requires or
	// is ordered after. The drop-in adds only what canBeEarly and overtakes leave out.
	Type         string
	Needs, After []string
	// Stored is how many entries its fd store has now.
	Stored uint32
	// NoPreserve says that this PID 1 has no FileDescriptorStorePreserve=.
	NoPreserve bool
	// Stale says that PID 1 has not read the unit's files since they were changed.
	Stale bool
}

// teller is what tells of a unit: a connection to PID 1.
type teller interface {
	GetAllPropertiesContext(ctx context.Context, unit string) (map[string]any, error)
}

// factsOf is for a unit that there is.
func factsOf(ctx context.Context, pid1 teller, unit string) (unitFacts, error) {
	facts, state, err := askPID1(ctx, pid1, unit)
	if err == nil && state != "loaded" {
		err = fmt.Errorf("there is no unit %s to be enabled: it is %s", unit, state)
	}
	return facts, err
}

// whateverIsSoOf is for one that may be gone, and its drop-in not.
func whateverIsSoOf(ctx context.Context, pid1 teller, unit string) (unitFacts, error) {
	facts, _, err := askPID1(ctx, pid1, unit)
	return facts, err
}

// askPID1 also returns the unit's LoadState.
func askPID1(ctx context.Context, pid1 teller, unit string) (unitFacts, string, error) {
	var facts unitFacts
	props, err := pid1.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return facts, "", fmt.Errorf("ask PID 1 about %s: %w", unit, err)
	}
	loaded, _ := props["LoadState"].(string)
	facts.Stored, _ = props["NFileDescriptorStore"].(uint32)
	facts.Type, _ = props["Type"].(string)
	for _, name := range []string{"Requires", "Requisite", "BindsTo"} {
		units, _ := props[name].([]string)
		facts.Needs = append(facts.Needs, units...)
	}
	facts.After, _ = props["After"].([]string)
	_, preserves := props["FileDescriptorStorePreserve"]
	facts.NoPreserve = !preserves
	facts.Stale, _ = props["NeedDaemonReload"].(bool)
	state, _ := props["ActiveState"].(string)
	facts.Running = state != "inactive" && state != "failed"
	// PID 1's NotifyAccess and FileDescriptorStoreMax are those with our drop-in.
	paths, _ := props["DropInPaths"].([]string)
	if fragment, _ := props["FragmentPath"].(string); fragment != "" {
		paths = slices.Insert(slices.Clone(paths), 0, fragment)
	}
	if err := facts.readOwn(paths); err != nil {
		return facts, loaded, fmt.Errorf("read the unit files of %s: %w", unit, err)
	}
	return facts, loaded, nil
}

// readOwn reads a unit's files in PID 1's order. Of drop-ins with one name PID 1 reads
// only the first, so each that is called as ours is left out: ours replaces it.
func (f *unitFacts) readOwn(paths []string) error {
	paths = slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return filepath.Base(p) == dropInName })
	files, err := unitsection.Read(paths)
	if err != nil {
		return err
	}
	for _, file := range files {
		// Drop-ins are read in the order of their names, whatever directory they are in.
		later := strings.HasSuffix(file.Path, ".conf") && filepath.Base(file.Path) > dropInName
		for _, a := range assignments(string(file.Data)) {
			if a.section == "Service" {
				f.set(a, file.Path, later)
			}
		}
	}
	return nil
}

// set does as systemd does: the last value counts, and one that it can't understand,
// as the empty one, is ignored (DEFINE_CONFIG_PARSE_ENUM and DEFINE_CONFIG_PARSE of
// systemd's src/shared/conf-parser.h); but for lists, which the empty one empties.
func (f *unitFacts) set(a assignment, path string, later bool) {
	works := true
	switch a.key {
	case "NotifyAccess":
		if !slices.Contains([]string{"none", "main", "exec", "all"}, a.value) {
			return
		}
		f.NotifyAccess = a.value
		works = lets(a.value)
	case "FileDescriptorStoreMax":
		n, err := strconv.ParseUint(a.value, 0, 32)
		if err != nil {
			return
		}
		f.StoreMax = uint32(n)
		works = n > 0
	case "ExecStartPre":
		if works = strings.Contains(a.value, filepath.Base(reissue)); !works && a.value != "" {
			return // one more command
		}
	default:
		return
	}
	switch {
	case !later:
	case works:
		delete(f.Undone, a.key)
	default:
		if f.Undone == nil {
			f.Undone = map[string]string{}
		}
		f.Undone[a.key] = fmt.Sprintf("%s says %s=%s", path, a.key, a.value)
	}
}

// lets says whether commands of ExecStartPre= get $NOTIFY_SOCKET with that
// NotifyAccess= (systemd.service(5)).
func lets(notifyAccess string) bool { return notifyAccess == "exec" || notifyAccess == "all" }

// assignment is a line of a unit file.
type assignment struct{ section, key, value string }

// assignments reads a unit file as systemd.syntax(7) has it. What is no assignment is
// passed over, as PID 1 does.
func assignments(text string) []assignment {
	var list []assignment
	section, whole := "", ""
	add := func() {
		switch key, value, is := strings.Cut(whole, "="); {
		case strings.HasPrefix(whole, "[") && strings.HasSuffix(whole, "]"):
			section = whole[1 : len(whole)-1]
		case is:
			list = append(list, assignment{section, strings.TrimSpace(key), strings.TrimSpace(value)})
		}
		whole = ""
	}
	for line := range strings.Lines(strings.TrimPrefix(text, "\ufeff")) {
		line = strings.TrimLeft(strings.TrimRight(line, "\r\n"), " \t")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
			continue // also within a continued line, which goes on
		}
		if stem := strings.TrimRight(line, `\`); (len(line)-len(stem))%2 == 1 {
			whole += line[:len(line)-1] + " "
			continue
		}
		whole = strings.TrimSpace(whole + line)
		add()
	}
	whole = strings.TrimSpace(whole)
	add()
	return list
}

// canBeEarly says why a service can't be started before everything else.
func (f unitFacts) canBeEarly(unit string) error {
	if f.Type == "dbus" {
		return fmt.Errorf("%s can't be started early: it is of Type=dbus, and there is no bus yet", unit)
	}
	for _, need := range f.Needs {
		if !slices.Contains([]string{"sysinit.target", "basic.target", "-.mount", "luod.service"}, need) && !strings.HasSuffix(need, ".slice") && !strings.HasSuffix(need, ".mount") {
			return fmt.Errorf("%s can't be started early: it requires %s", unit, need)
		}
	}
	return nil
}

// overtakes are the units that it will no longer wait for.
func (f unitFacts) overtakes() []string {
	var list []string
	for _, unit := range f.After {
		known := []string{"sysinit.target", "basic.target", "luod.service", "systemd-journald.socket", "systemd-remount-fs.service", "local-fs.target", "systemd-tmpfiles-setup.service"}
		if !slices.Contains(known, unit) && !strings.HasSuffix(unit, ".slice") && !strings.HasSuffix(unit, ".mount") {
			list = append(list, unit)
		}
	}
	return list
}
