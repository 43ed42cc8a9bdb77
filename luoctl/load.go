package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

// loadTimeout leaves time for a large initrd on a slow disk, and for a password.
const loadTimeout = 2 * time.Minute

// loadFlags are those of load and of live-update.
type loadFlags struct {
	kernel, initrd, commandLine string
}

func loadCommand(o *options) *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load KERNEL",
		Short: "Load the kernel that the next live update boots",
		Long: "Load the kernel image KERNEL for the next live update, with the running command line unless\n" +
			"another is given. What a live update needs (kho=on liveupdate=on) is added to either.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.kernel = args[0]
			var loaded loaded
			if err := ask(cmd, o, loadTimeout, func(ctx context.Context, d *daemon) (err error) {
				loaded, err = d.load(ctx, f)
				return err
			}); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), loaded)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Loaded %s (%s) with: %s\n", loaded.Release, loaded.Kernel, loaded.CommandLine)
			return nil
		},
	}
	f.register(cmd)
	return cmd
}

func (f *loadFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.initrd, "initrd", "", "load this `FILE` as the initial RAM file system")
	cmd.Flags().StringVar(&f.commandLine, "command-line", "", "use this kernel command `LINE` instead of the running one")
}

type loaded struct {
	Kernel      string `json:"kernel"`
	Initrd      string `json:"initrd"`
	Release     string `json:"release"`
	CommandLine string `json:"commandLine"`
}

// load makes the paths absolute, since luod's working directory is another.
func (d *daemon) load(ctx context.Context, f loadFlags) (loaded, error) {
	kernel, err := filepath.Abs(f.kernel)
	if err != nil {
		return loaded{}, err
	}
	initrd := f.initrd
	if initrd != "" {
		if initrd, err = filepath.Abs(initrd); err != nil {
			return loaded{}, err
		}
	}
	l := loaded{Kernel: kernel, Initrd: initrd}
	err = d.call(ctx, "Load", kernel, initrd, f.commandLine, map[string]dbus.Variant{}).Store(&l.Release, &l.CommandLine)
	return l, err
}

func unloadCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "unload",
		Short: "Unload the loaded kernel",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "Unload").Err
			})
		},
	}
}
