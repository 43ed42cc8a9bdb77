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

	"github.com/liveupdate/luod/internal/atomicfile"
	"github.com/liveupdate/luod/internal/unitsection"
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

// outcome is what enable and disable did, or would do.
type outcome struct {
	Unit    string `json:"unit"`
	Path    string `json:"path"`
	Content string `json:"content,omitempty"`
	Changed bool   `json:"changed"`
	// Kept are the options of an earlier run that were not given again, and still hold.
	Kept []string `json:"kept,omitempty"`
	// Warnings are what may not work as it did.
	Warnings []string `json:"warnings,omitempty"`
	DryRun   bool     `json:"dryRun"`
	// Running says that the unit runs, and has the change only when it is
	// started anew.
	Running bool `json:"running"`
}

func enableCommand(o *options) *cobra.Command {
	var p *participation
	var dryRun bool
	var root string
	cmd := &cobra.Command{
		Use:   "enable UNIT...",
		Short: "Have services take part in live updates",
		Long: "Write a drop-in for each unit that says how it takes part: with --preserve=dbus the service hands its file\n" +
			"descriptors to luod itself and says Ready before an update; with fdstore luod gives them to the unit's fd store\n" +
			"before each start; with session it fills a LUO session of its own. Nothing is restarted. What an earlier run was\n" +
			"asked for is kept, unless its option is given again; an empty value, or =false, takes it back.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachUnit(cmd, o, args, root, dryRun, factsOf, func(unit string, facts unitFacts, dryRun bool) (outcome, error) {
				return enableUnit(root, unit, *p, cmd.Flags().Changed, facts, dryRun)
			})
		},
	}
	f := cmd.Flags()
	p = participationFlags(cmd)
	f.BoolVar(&dryRun, "dry-run", false, "show what would be written, and write nothing")
	f.StringVar(&root, "root", "/", "work on the system in this `DIR`")
	_ = f.MarkHidden("root")
	return cmd
}

func disableCommand(o *options) *cobra.Command {
	var dryRun, force bool
	var root string
	cmd := &cobra.Command{
		Use:   "disable UNIT...",
		Short: "Take back what enable wrote",
		Long: "Remove the drop-ins that enable wrote. What PID 1 keeps in a unit's fd store for which only the drop-in makes room, it\n" +
			"closes when it reads its files again; that is refused without --force.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return eachUnit(cmd, o, args, root, dryRun, whateverIsSoOf, func(unit string, facts unitFacts, dryRun bool) (outcome, error) {
				return disableUnit(root, unit, facts, force, dryRun)
			})
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "show what would be removed, and remove nothing")
	cmd.Flags().BoolVar(&force, "force", false, "do it though PID 1 closes what it keeps in the unit's fd store")
	cmd.Flags().StringVar(&root, "root", "/", "work on the system in this `DIR`")
	_ = cmd.Flags().MarkHidden("root")
	return cmd
}

// eachUnit looks at all units before it changes the first, and has PID 1 read its
// files again after the last. With look it asks PID 1, unless root is another system's.
func eachUnit(cmd *cobra.Command, o *options, units []string, root string, dryRun bool, look func(ctx context.Context, pid1 teller, unit string) (unitFacts, error), change func(unit string, facts unitFacts, dryRun bool) (outcome, error)) error {
	names := make([]string, len(units))
	for i, unit := range units {
		names[i] = unitName(unit)
		if !unitsection.ValidUnit(names[i]) {
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
			if facts[i], err = look(ctx, conn, name); err != nil {
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
	if conn != nil && !dryRun && (slices.ContainsFunc(list, func(r outcome) bool { return r.Changed }) || slices.ContainsFunc(facts, func(f unitFacts) bool { return f.Stale })) {
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
	var notes []string
	if len(r.Kept) > 0 {
		notes = append(notes, "Kept from before: "+quoted(r.Kept)+".")
	}
	for _, w := range r.Warnings {
		notes = append(notes, "Warning: "+w+".")
	}
	switch {
	case r.DryRun && r.Content != "":
		text := ""
		for _, n := range notes {
			text += "# " + n + "\n"
		}
		return text + fmt.Sprintf("# %s\n%s", r.Path, r.Content)
	case r.DryRun && r.Changed:
		return fmt.Sprintf("Would remove %s.\n", r.Path)
	}
	said := "Removed " + r.Path
	switch {
	case !r.Changed:
		said = r.Unit + ": nothing to do"
	case r.Content != "":
		said = "Wrote " + r.Path
	}
	if r.Changed && r.Running {
		notes = append(notes, r.Unit+" runs: the change takes effect when it is started anew.")
	}
	return strings.Join(append([]string{said + "."}, notes...), "\n") + "\n"
}

// earlyDir holds a link to each unit that is started before everything else.
const earlyDir = "/etc/systemd/system/luod-restore.target.wants"

// hasLink says whether the link is there.
func hasLink(root, unit string) bool {
	_, err := os.Lstat(filepath.Join(root, earlyDir, unit))
	return err == nil
}

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

// enableUnit writes the drop-in that p asks for, and what an earlier one has of what
// is not given now.
//
// Killed in between: the drop-in is there and the link for an early start is not, or
// PID 1 has not read it; another run does the rest.
func enableUnit(root, unit string, p participation, given func(flag string) bool, facts unitFacts, dryRun bool) (outcome, error) {
	r := outcome{Unit: unit, Path: dropInPath(unit), DryRun: dryRun, Running: facts.Running}
	path := filepath.Join(root, r.Path)
	was, err := present(path)
	if err != nil {
		return r, err
	}
	earlier, foreign := earlierChoices(was)
	r.Kept = p.keep(earlier, given)
	// What would be so anyway is not worth a word.
	r.Kept = slices.DeleteFunc(r.Kept, func(flag string) bool { return flag == "--preserve="+p.usual(facts) })
	if r.Content, err = p.dropIn(unit, facts); err != nil {
		if len(r.Kept) > 0 {
			err = fmt.Errorf("%w; kept from before: %s (an option that is given replaces what it said before, --OPTION= and --OPTION=false take it back)", err, quoted(r.Kept))
		}
		return r, err
	}
	// A link that an admin made is left to the admin.
	link := p.early
	if !p.early && !earlier.early && !given("early") {
		link = hasLink(root, unit)
	}
	r.Changed = r.Content != was || link != hasLink(root, unit)
	if len(foreign) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s had what enable does not write, and has no longer: %s; it belongs into a drop-in of its own", r.Path, strings.Join(foreign, ", ")))
	}
	if others := facts.overtakes(); p.early && len(others) > 0 {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s is ordered after %s, and after an update starts before", unit, strings.Join(others, ", ")))
	}
	if dryRun || !r.Changed {
		return r, nil
	}
	if r.Content != was {
		if err := replaceFile(path, r.Content); err != nil {
			return r, fmt.Errorf("enable %s: %w", unit, err)
		}
	}
	if err := linkEarly(root, unit, link); err != nil {
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
	return atomicfile.WriteDurable(path, []byte(content), 0o644)
}

// disableUnit removes what enableUnit wrote.
//
// Killed in between: the drop-in is still there, so that another run does the rest.
func disableUnit(root, unit string, facts unitFacts, force, dryRun bool) (outcome, error) {
	r := outcome{Unit: unit, Path: dropInPath(unit), DryRun: dryRun, Running: facts.Running}
	path := filepath.Join(root, r.Path)
	was, err := present(path)
	if err != nil {
		return r, err
	}
	r.Changed = was != ""
	if r.Changed && facts.Stored > facts.StoreMax {
		lost := fmt.Sprintf("PID 1 keeps %s in the fd store of %s, has room for %d without %s, and closes the rest as soon as it reads its files again", count(uint64(facts.Stored), "file descriptor"), unit, facts.StoreMax, r.Path)
		if !force {
			return r, fmt.Errorf("disable %s: %s; set FileDescriptorStoreMax= in another drop-in, or do it with --force", unit, lost)
		}
		r.Warnings = append(r.Warnings, lost)
	}
	if dryRun || !r.Changed {
		return r, nil
	}
	if earlier, _ := earlierChoices(was); earlier.early {
		if err := linkEarly(root, unit, false); err != nil {
			return r, fmt.Errorf("disable %s: %w", unit, err)
		}
	}
	if err := os.Remove(path); err != nil {
		return r, fmt.Errorf("disable %s: %w", unit, err)
	}
	_ = os.Remove(filepath.Dir(path)) // if nothing else is in it
	return r, nil
}
