package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

func liveUpdateCommand(o *options) *cobra.Command {
	var f kernelFlags
	var verify, dryRun bool
	cmd := &cobra.Command{
		Use:   "live-update [ENTRY]",
		Short: "Boot another kernel, with everything that was handed over",
		Long: "Check everything, pack what services handed over, shut down and boot the kernel that is loaded, which\n" +
			"gives it back. " + entryHelp + "what is loaded, or else the default boot entry.\n" +
			"Returns when the shutdown has begun; before that any error means that nothing was stopped.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := connect(o)
			if err != nil {
				return err
			}
			defer d.close()
			load := len(args) > 0 || f.given()
			if load && dryRun {
				return fmt.Errorf("naming a kernel loads it, and --dry-run changes nothing: see 'luoctl check', or load it first with 'luoctl load'")
			}
			stop := progress(cmd.ErrOrStderr(), "Checking and packing")
			defer stop()
			if load {
				if _, err := d.kernel(cmd.Context(), "Load", args, f); err != nil {
					return err
				}
			}
			generation, err := d.liveUpdate(cmd.Context(), verify, dryRun, f.force)
			if refused(err, "NoKernelLoaded") && !dryRun {
				// As systemctl kexec does.
				if _, err := d.kernel(cmd.Context(), "Load", nil, f); err != nil {
					return err
				}
				generation, err = d.liveUpdate(cmd.Context(), verify, dryRun, f.force)
			}
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), map[string]any{"generation": generation, "dryRun": dryRun})
			}
			if dryRun {
				fmt.Fprintf(cmd.OutOrStdout(), "Ready for live update %d.\n", generation)
				return nil
			}
			fmt.Fprintf(cmd.OutOrStdout(), "Live update %d has begun: the system shuts down and boots the loaded kernel.\n", generation)
			return nil
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&verify, "verify", false, "compare the SHA-256 of everything sealed against writing, before and after")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "do all checks and nothing else")
	return cmd
}

func (d *daemon) liveUpdate(ctx context.Context, verify, dryRun bool, force []string) (generation uint64, err error) {
	options := map[string]dbus.Variant{"verify": dbus.MakeVariant(verify), "dry-run": dbus.MakeVariant(dryRun)}
	if len(force) > 0 {
		options["override"] = dbus.MakeVariant(force)
	}
	err = d.call(context.WithoutCancel(ctx), "LiveUpdate", options).Store(&generation)
	return generation, err
}

// progress says that something goes on if it takes over a second.
func progress(w io.Writer, what string) (stop func()) {
	done := make(chan struct{})
	go func() {
		start := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				fmt.Fprintf(w, "%s … %d s\n", what, int(time.Since(start).Seconds()))
			}
		}
	}()
	return sync.OnceFunc(func() { close(done) })
}
