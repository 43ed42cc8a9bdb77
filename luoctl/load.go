package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

// loadTimeout leaves time for a large initrd on a slow disk, and for a password.
const loadTimeout = 4 * time.Minute

// kernelFlags are those of every verb that names a kernel.
type kernelFlags struct {
	initrds     []string
	commandLine string
	force       []string
}

func (f *kernelFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.initrds, "initrd", nil, "take this `FILE` as the initial RAM file system instead of the entry's; may be given more than once")
	cmd.Flags().StringVar(&f.commandLine, "command-line", "", "take this kernel command `LINE` instead of the entry's or the running one")
	cmd.Flags().StringSliceVar(&f.force, "force", nil, "go on though the check of this `NAME` fails; may be given more than once")
}

// given says that something beside the entry was named.
func (f *kernelFlags) given() bool { return len(f.initrds) > 0 || f.commandLine != "" }

func (f *kernelFlags) options() (map[string]dbus.Variant, error) {
	options := map[string]dbus.Variant{}
	var initrds []string
	for _, path := range f.initrds {
		absolute, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		initrds = append(initrds, absolute)
	}
	if len(initrds) > 0 {
		options["initrds"] = dbus.MakeVariant(initrds)
	}
	if f.commandLine != "" {
		options["command-line"] = dbus.MakeVariant(f.commandLine)
	}
	if len(f.force) > 0 {
		options["override"] = dbus.MakeVariant(f.force)
	}
	return options, nil
}

// entryOf is what luod takes for an argument: a path is made absolute, since
// luod's working directory is another.
func entryOf(args []string) (string, error) {
	if len(args) == 0 || !strings.Contains(args[0], "/") {
		return strings.Join(args, ""), nil
	}
	return filepath.Abs(args[0])
}

const entryHelp = "ENTRY is a boot entry as 'luoctl list-entries' shows it, or the path of a kernel or a unified kernel\n" +
	"image; without it, "

func loadCommand(o *options) *cobra.Command {
	var f kernelFlags
	cmd := &cobra.Command{
		Use:   "load [ENTRY]",
		Short: "Check and load the kernel that the next live update boots",
		Long: "Check the kernel of ENTRY as 'luoctl check' does and load it for the next live update. " + entryHelp + "the\n" +
			"default boot entry. What a live update needs (kho=on liveupdate=on) is added to the command line.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r checkReport
			defer progress(cmd.ErrOrStderr(), "Checking and loading")()
			if err := ask(cmd, o, loadTimeout, func(ctx context.Context, d *daemon) (err error) {
				r, err = d.kernel(ctx, "Load", args, f)
				return err
			}); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			for _, c := range r.Checks {
				if c.Verdict != "ok" {
					fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %s\n", c.Verdict, c.Name, c.Reason)
				}
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Loaded %s (%s) with: %s\n", r.Release, r.Kernel, r.CommandLine)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

// kernel calls Check or Load.
func (d *daemon) kernel(ctx context.Context, method string, args []string, f kernelFlags) (checkReport, error) {
	var r checkReport
	entry, err := entryOf(args)
	if err != nil {
		return r, err
	}
	options, err := f.options()
	if err != nil {
		return r, err
	}
	var target map[string]dbus.Variant
	if err := d.call(ctx, method, entry, options).Store(&r.Checks, &target); err != nil {
		return r, err
	}
	for name, into := range map[string]any{
		"Kernel": &r.Kernel, "Initrds": &r.Initrds, "CommandLine": &r.CommandLine,
		"Profile": &r.Profile, "Release": &r.Release, "Digest": &r.Digest,
	} {
		if err := target[name].Store(into); err != nil {
			return r, fmt.Errorf("read luod's answer: %s: %w", name, err)
		}
	}
	return r, nil
}

func unloadCommand(o *options) *cobra.Command {
	var own bool
	cmd := &cobra.Command{
		Use:   "unload",
		Short: "Unload the loaded kernel",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				if !own {
					return d.call(ctx, "Unload").Err
				}
				var release string
				if err := d.call(ctx, "UnloadOwn").Store(&release); err != nil {
					return err
				}
				if release != "" {
					fmt.Fprintf(cmd.OutOrStdout(), "Unloaded %s.\n", release)
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&own, "own", false, "only if it is luod that has loaded it")
	return cmd
}
