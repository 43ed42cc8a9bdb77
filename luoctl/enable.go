package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/spf13/cobra"

	"github.com/liveupdate/luod/luod/declaration"
)

const (
	// dropInName is the file that enable writes into UNIT.d.
	dropInName = "50-luod.conf"
	// dropInHead is how it begins; what begins otherwise is somebody else's.
	dropInHead = "# Written by 'luoctl enable'; 'luoctl disable' removes it.\n"
	reissue    = "/usr/lib/luod/luod-reissue"
	// storeMax is how many entries a unit's fd store gets room for at least.
	storeMax = 512
)

// unitFacts are what PID 1 says of a unit.
type unitFacts struct {
	NotifyAccess string
	StoreMax     uint32
	Running      bool
	// Type is the service's, and Needs and After are the units that it requires or
	// is ordered after.
	Type         string
	Needs, After []string
	// NoPreserve says that this PID 1 has no FileDescriptorStorePreserve=.
	NoPreserve bool
}

// participation is what is to be written.
type participation struct {
	preserve, timeout, onFailure, verify         string
	after, before, memfds, directories, recreate []string
	aliases                                      []string
	early, storePreserve                         bool
}

// outcome is what enable and disable did, or would do.
type outcome struct {
	Unit    string `json:"unit"`
	Path    string `json:"path"`
	Content string `json:"content,omitempty"`
	Changed bool   `json:"changed"`
	// Warnings are what may not work as it did.
	Warnings []string `json:"warnings,omitempty"`
	DryRun   bool     `json:"dryRun"`
	// Running says that the unit runs, and has the change only when it is
	// started anew.
	Running bool `json:"running"`
}

func enableCommand(o *options) *cobra.Command {
	var p participation
	var dryRun bool
	var root string
	cmd := &cobra.Command{
		Use:   "enable UNIT...",
		Short: "Have services take part in live updates",
		Long: "Write a drop-in for each unit that says how it takes part: with --preserve=dbus the service hands its file\n" +
			"descriptors to luod itself and says Ready before an update; with fdstore luod gives them to the unit's fd store\n" +
			"before each start; with session it fills a LUO session of its own. Nothing is restarted.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachUnit(cmd, o, args, root, dryRun, func(unit string, facts unitFacts, dryRun bool) (outcome, error) {
				return enableUnit(root, unit, p, facts, dryRun)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&p.preserve, "preserve", "", "`HOW`: dbus, fdstore or session; by default fdstore for units with an fd store, else dbus")
	f.StringVar(&p.timeout, "timeout", "", "give the service this `TIME` to say Ready")
	f.StringVar(&p.onFailure, "on-failure", "", "`abort` the update if the service isn't ready, or ignore it")
	f.StringVar(&p.verify, "verify", "", "compare checksums of what is sealed against writing: `none` or sha256")
	f.StringSliceVar(&p.after, "after", nil, "prepare it after these `UNITS`")
	f.StringSliceVar(&p.before, "before", nil, "prepare it before these `UNITS`")
	f.StringSliceVar(&p.aliases, "alias", nil, "give it what luod has of these `UNITS`, which it was called before")
	f.StringArrayVar(&p.memfds, "memfd", nil, "with fdstore: make a memfd `NAME:SIZE` unless it came through an update")
	f.StringArrayVar(&p.directories, "directory", nil, "with fdstore: bring this `DIRECTORY` of a tmpfs along, such as /run/foo")
	f.StringSliceVar(&p.recreate, "recreate", nil, "with fdstore: have `KINDS` of what no kernel carries made anew: files, sockets")
	f.BoolVar(&p.storePreserve, "fd-store-preserve", false, "with fdstore: FileDescriptorStorePreserve=yes, so that what it stores while it is being stopped\ncomes along, and systemd 261 and newer carry its memfds themselves")
	f.BoolVar(&p.early, "early", false, "start it before everything else after an update")
	f.BoolVar(&dryRun, "dry-run", false, "show what would be written, and write nothing")
	f.StringVar(&root, "root", "/", "work on the system in this `DIR`")
	_ = f.MarkHidden("root")
	return cmd
}

func disableCommand(o *options) *cobra.Command {
	var dryRun bool
	var root string
	cmd := &cobra.Command{
		Use:   "disable UNIT...",
		Short: "Take back what enable wrote",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachUnit(cmd, o, args, root, dryRun, func(unit string, facts unitFacts, dryRun bool) (outcome, error) {
				return disableUnit(root, unit, facts, dryRun)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	cmd.Flags().StringVar(&root, "root", "/", "work on the system in this `DIR`")
	_ = cmd.Flags().MarkHidden("root")
	return cmd
}

// eachUnit looks at all units before it changes the first, and has PID 1 read its
// files again after the last.
func eachUnit(cmd *cobra.Command, o *options, units []string, root string, dryRun bool, change func(unit string, facts unitFacts, dryRun bool) (outcome, error)) error {
	names := make([]string, len(units))
	for i, unit := range units {
		names[i] = unitName(unit)
		if !declaration.ValidUnit(names[i]) {
			return fmt.Errorf("%q is no name of a service", unit)
		}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
	defer cancel()
	facts := make([]unitFacts, len(names))
	var conn *systemd.Conn
	if root == "/" {
		if os.Geteuid() != 0 && !dryRun {
			return errors.New("drop-ins are written to /etc/systemd/system, which only root may: use sudo")
		}
		var err error
		if conn, err = systemd.NewWithContext(ctx); err != nil {
			return fmt.Errorf("connect to PID 1: %w", err)
		}
		defer conn.Close()
		for i, name := range names {
			if facts[i], err = factsOf(ctx, conn, name); err != nil {
				return err
			}
		}
	}
	for i, name := range names {
		if _, err := change(name, facts[i], true); err != nil {
			return err
		}
	}
	list := []outcome{}
	var failed error
	for i, name := range names {
		done, err := change(name, facts[i], dryRun)
		if err != nil {
			failed = err
			break
		}
		list = append(list, done)
	}
	if conn != nil && !dryRun && slices.ContainsFunc(list, func(r outcome) bool { return r.Changed }) {
		if err := conn.ReloadContext(ctx); err != nil {
			failed = errors.Join(failed, fmt.Errorf("have PID 1 read its files again: %w; run 'systemctl daemon-reload'", err))
		}
	}
	if o.json {
		return errors.Join(failed, printJSON(cmd.OutOrStdout(), list))
	}
	for _, r := range list {
		fmt.Fprint(cmd.OutOrStdout(), r.text())
	}
	return failed
}

func (r outcome) text() string {
	switch {
	case r.DryRun && r.Content != "":
		return fmt.Sprintf("# %s\n%s", r.Path, r.Content)
	case !r.Changed:
		return fmt.Sprintf("%s: nothing to do.\n", r.Unit)
	case r.DryRun:
		return fmt.Sprintf("Would remove %s.\n", r.Path)
	}
	verb := "Removed"
	if r.Content != "" {
		verb = "Wrote"
	}
	text := fmt.Sprintf("%s %s.\n", verb, r.Path)
	for _, w := range r.Warnings {
		text += "Warning: " + w + ".\n"
	}
	if r.Running {
		text += fmt.Sprintf("%s runs: the change takes effect when it is started anew.\n", r.Unit)
	}
	return text
}

func factsOf(ctx context.Context, conn *systemd.Conn, unit string) (unitFacts, error) {
	var facts unitFacts
	props, err := conn.GetAllPropertiesContext(ctx, unit)
	if err != nil {
		return facts, fmt.Errorf("ask PID 1 about %s: %w", unit, err)
	}
	if state, _ := props["LoadState"].(string); state != "loaded" {
		return facts, fmt.Errorf("there is no unit %s to be enabled: it is %s", unit, state)
	}
	facts.NotifyAccess, _ = props["NotifyAccess"].(string)
	facts.Type, _ = props["Type"].(string)
	for _, name := range []string{"Requires", "Requisite", "BindsTo"} {
		units, _ := props[name].([]string)
		facts.Needs = append(facts.Needs, units...)
	}
	facts.After, _ = props["After"].([]string)
	facts.StoreMax, _ = props["FileDescriptorStoreMax"].(uint32)
	_, preserves := props["FileDescriptorStorePreserve"]
	facts.NoPreserve = !preserves
	state, _ := props["ActiveState"].(string)
	facts.Running = state != "inactive" && state != "failed"
	return facts, nil
}

// dropIn writes what p says in systemd's syntax.
func (p participation) dropIn(unit string, facts unitFacts) (string, error) {
	if p.preserve == "" {
		p.preserve = "dbus"
		if facts.StoreMax > 0 || len(p.memfds)+len(p.directories)+len(p.recreate) > 0 {
			p.preserve = "fdstore"
		}
	}
	if len(p.memfds)+len(p.directories)+len(p.recreate) > 0 && p.preserve != "fdstore" {
		return "", fmt.Errorf("--memfd, --directory and --recreate are for --preserve=fdstore: a service that speaks D-Bus makes its own")
	}
	if p.storePreserve && p.preserve != "fdstore" {
		return "", fmt.Errorf("--fd-store-preserve is for --preserve=fdstore")
	}
	if p.storePreserve && facts.NoPreserve {
		return "", fmt.Errorf("enable %s: --fd-store-preserve: this systemd knows no FileDescriptorStorePreserve= (254 and newer do)", unit)
	}
	var b strings.Builder
	b.WriteString(dropInHead)
	b.WriteString("[Unit]\nWants=luod.service\nAfter=luod.service\n")
	if p.early {
		if p.preserve != "fdstore" {
			return "", fmt.Errorf("--early is for --preserve=fdstore: before everything else there is no bus to speak to luod over")
		}
		if err := facts.canBeEarly(unit); err != nil {
			return "", err
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
	if p.preserve == "fdstore" {
		b.WriteString("\n[Service]\nExecStartPre=+" + reissue)
		for _, m := range p.memfds {
			if strings.ContainsFunc(m, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"'\%$;`, r) }) {
				return "", fmt.Errorf("--memfd=%s: the name has characters that a unit file can't hold", m)
			}
			b.WriteString(" --memfd=" + m)
		}
		b.WriteString("\n")
		if facts.NotifyAccess != "exec" && facts.NotifyAccess != "all" {
			b.WriteString("NotifyAccess=exec\n")
		}
		if len(p.directories) > 0 {
			// It has to be there still when the unit has stopped.
			b.WriteString("RuntimeDirectoryPreserve=yes\n")
		}
		fmt.Fprintf(&b, "FileDescriptorStoreMax=%d\n", max(facts.StoreMax, storeMax))
		if p.storePreserve {
			b.WriteString("FileDescriptorStorePreserve=yes\n")
		}
	}
	text := b.String()
	_, warnings, err := declaration.Parse(unit, []declaration.File{{Path: "the drop-in", Data: []byte(text)}})
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

// earlyDir holds a link to each unit that is started before everything else.
const earlyDir = "/etc/systemd/system/luod-restore.target.wants"

// linkEarly makes or removes the link; what is as it shall be is left.
func linkEarly(root, unit string, early bool) error {
	link := filepath.Join(root, earlyDir, unit)
	if !early {
		err := os.Remove(link)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		_ = os.Remove(filepath.Dir(link)) // if it was the last
		return err
	}
	if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("../"+unit, link); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func dropInPath(unit string) string {
	return filepath.Join("/etc/systemd/system", unit+".d", dropInName)
}

// present reads the drop-in that is there, and refuses one that isn't ours.
func present(path string) (string, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the drop-in: %w", err)
	}
	if !strings.HasPrefix(string(data), dropInHead) {
		return "", fmt.Errorf("%s was not written by 'luoctl enable' and is left as it is", path)
	}
	return string(data), nil
}

func enableUnit(root, unit string, p participation, facts unitFacts, dryRun bool) (outcome, error) {
	r := outcome{Unit: unit, Path: dropInPath(unit), DryRun: dryRun, Running: facts.Running}
	path := filepath.Join(root, r.Path)
	was, err := present(path)
	if err != nil {
		return r, err
	}
	if r.Content, err = p.dropIn(unit, facts); err != nil {
		return r, err
	}
	r.Changed = r.Content != was
	if others := facts.overtakes(); p.early && len(others) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s is ordered after %s, and after an update starts before", unit, strings.Join(others, ", ")))
	}
	if dryRun || !r.Changed {
		return r, nil
	}
	if err := replaceFile(path, r.Content); err != nil {
		return r, fmt.Errorf("enable %s: %w", unit, err)
	}
	if err := linkEarly(root, unit, p.early); err != nil {
		return r, fmt.Errorf("enable %s: %w", unit, err)
	}
	return r, nil
}

// replaceFile writes path whole or not at all.
func replaceFile(path, content string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".luod-*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}

func disableUnit(root, unit string, facts unitFacts, dryRun bool) (outcome, error) {
	r := outcome{Unit: unit, Path: dropInPath(unit), DryRun: dryRun, Running: facts.Running}
	path := filepath.Join(root, r.Path)
	was, err := present(path)
	if err != nil {
		return r, err
	}
	r.Changed = was != ""
	if dryRun || !r.Changed {
		return r, nil
	}
	if err := os.Remove(path); err != nil {
		return r, fmt.Errorf("disable %s: %w", unit, err)
	}
	_ = os.Remove(filepath.Dir(path)) // if nothing else is in it
	if err := linkEarly(root, unit, false); err != nil {
		return r, fmt.Errorf("disable %s: %w", unit, err)
	}
	return r, nil
}
