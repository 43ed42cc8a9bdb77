package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
)

func discardCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "discard UNIT [NAME...]",
		Short: "Give up what luod holds for a unit",
		Long: "Give up the file descriptors and sessions that luod holds for a unit, or those of these names, on purpose:\n" +
			"they are gone. It is for what no unit will fetch any more, or what can't be made anew; 'luoctl list' shows what there is.\n" +
			"If luod could not restore what came through an update, a unit without names is let start without it.",
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "Discard", unitName(args[0]), append([]string{}, args[1:]...)).Err
			})
		},
	}
}
