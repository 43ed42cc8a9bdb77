package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func cancelCommand(o *options) *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "cancel",
		Short: "Take back the live update that is under way",
		Long: "Take back the live update that is under way: what was preserved is let go of, services are told and go\n" +
			"on as before. Once it is committed PID 1 shuts the system down, and it is too late.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "Cancel", message).Err
			})
		},
	}
	cmd.Flags().StringVar(&message, "message", "an administrator asked for it", "tell services and the log this `REASON`")
	return cmd
}
