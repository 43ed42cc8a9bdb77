package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func cancelCommand(o *options) *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "cancel",
		Short: "Take back the live update that is under way or scheduled",
		Long: "Take back the live update that is under way: what was preserved is let go of, services are told and go\n" +
			"on as before. Once it is committed PID 1 shuts the system down, and it is too late.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cancel(cmd, o, message)
		},
	}
	cmd.Flags().StringVar(&message, "message", "an administrator asked for it", "tell services and the log this `REASON`")
	return cmd
}

func cancel(cmd *cobra.Command, o *options, message string) error {
	return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
		return d.call(ctx, "Cancel", message).Err
	})
}

func showSchedule(cmd *cobra.Command, o *options) error {
	s, err := readStatus(cmd.Context(), o)
	switch {
	case err != nil:
		return err
	case o.json:
		return printJSON(cmd.OutOrStdout(), map[string]any{"scheduled": s.Scheduled})
	case s.Scheduled == 0:
		fmt.Fprintln(cmd.OutOrStdout(), "No live update is scheduled.")
	default:
		fmt.Fprintln(cmd.OutOrStdout(), time.UnixMicro(int64(s.Scheduled)).Format(time.DateTime))
	}
	return nil
}
