package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

func liveUpdateCommand(o *options) *cobra.Command {
	var f loadFlags
	var verify, dryRun bool
	cmd := &cobra.Command{
		Use:   "live-update",
		Short: "Boot the loaded kernel, with everything that was handed over",
		Long: "Pack everything that services handed over, shut down and boot the loaded kernel, which gives it\n" +
			"back. Returns when the shutdown has begun; before that any error means that nothing was stopped.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := connect(o)
			if err != nil {
				return err
			}
			defer d.close()
			if f.kernel != "" && dryRun {
				return fmt.Errorf("--kernel loads a kernel, and --dry-run changes nothing: load it first with 'luoctl load'")
			}
			if f.kernel != "" {
				if _, err := d.load(cmd.Context(), f); err != nil {
					return err
				}
			} else if f.initrd != "" || f.commandLine != "" {
				return fmt.Errorf("--initrd and --command-line go with --kernel")
			}
			stop := progress(cmd.ErrOrStderr(), "Packing")
			var generation uint64
			err = d.call(context.WithoutCancel(cmd.Context()), "LiveUpdate", map[string]dbus.Variant{
				"verify": dbus.MakeVariant(verify), "dry-run": dbus.MakeVariant(dryRun),
			}).Store(&generation)
			stop()
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
	cmd.Flags().StringVar(&f.kernel, "kernel", "", "load this kernel `IMAGE` first")
	f.register(cmd)
	cmd.Flags().BoolVar(&verify, "verify", false, "compare the SHA-256 of everything sealed against writing, before and after")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "do all checks and nothing else")
	return cmd
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
	return func() { close(done) }
}
