package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
)

func discardCommand(o *options) *cobra.Command {
	var all bool
	var how discardAll
	cmd := &cobra.Command{
		Use:   "discard UNIT [NAME...] | discard --all",
		Short: "Give up what luod holds for a unit, or everything",
		Long: "Give up the file descriptors and sessions that luod holds for a unit, or those of these names, on purpose:\n" +
			"they are gone. It is for what no unit will fetch any more, or what can't be made anew; 'luoctl list' shows what there is.\n" +
			"If luod could not restore what came through an update, a unit without names is let start without it.\n\n" +
			"With --all it is everything, of all units, also their sessions for the next update and what could not be restored: what\n" +
			"removing luod takes. It shows what that is and asks; --force doesn't ask, and --dry-run only shows it, with exit code 3\n" +
			"if there is something.",
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return errors.New("--all is everything of all units, and goes with no UNIT")
			case !all && len(args) == 0:
				return errors.New("name a UNIT, or say --all")
			case !all && (how.force || how.dryRun):
				return errors.New("--force and --dry-run are for --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if all {
				how.in, how.out, how.questions, how.json = cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), o.json
				how.terminal = isTerminal(how.in)
				return how.run(func(dryRun bool) (s stakes, err error) {
					err = ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
						s, err = d.discardAll(ctx, dryRun)
						return err
					})
					return s, err
				})
			}
			return ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "Discard", unitName(args[0]), append([]string{}, args[1:]...)).Err
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "give up everything that luod holds")
	cmd.Flags().BoolVar(&how.force, "force", false, "with --all: do not ask")
	cmd.Flags().BoolVar(&how.dryRun, "dry-run", false, "with --all: only show what it would be")
	return cmd
}

// stake is what luod has of one unit, and stakes is all that it has; as luod's
// coordinator.Stakes.
type stake struct {
	Unit    string `json:"unit"`
	Count   uint64 `json:"count"`
	Bytes   uint64 `json:"bytes"`
	Waiting uint64 `json:"waiting"`
}

type stakes struct {
	Units  []stake `json:"units"`
	Unread string  `json:"unread"`
	Stuck  uint64  `json:"stuck"`
}

func (s stakes) none() bool { return len(s.Units) == 0 && s.Unread == "" && s.Stuck == 0 }

func (d *daemon) discardAll(ctx context.Context, dryRun bool) (stakes, error) {
	var s stakes
	err := d.call(ctx, "DiscardAll", onlyIf("dry-run", dryRun)).Store(&s.Units, &s.Unread, &s.Stuck)
	if err != nil {
		return s, fmt.Errorf("ask luod about all that it holds: %w", err)
	}
	return s, nil
}
