package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

// inhibitor is one as luod and logind list them.
type inhibitor struct {
	What string `json:"what"`
	Who  string `json:"who"`
	Why  string `json:"why"`
	Mode string `json:"mode"`
	UID  uint32 `json:"uid"`
	PID  uint32 `json:"pid"`
}

func inhibitorsCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list-inhibitors",
		Short: "Show who blocks or delays live updates",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []inhibitor{}
			if err := ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "ListInhibitors").Store(&list)
			}); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printInhibitors(cmd.OutOrStdout(), list)
		},
	}
}

func printInhibitors(w io.Writer, list []inhibitor) error {
	if len(list) == 0 {
		fmt.Fprintln(w, "No inhibitors.")
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(t, "WHO\tUID\tPID\tWHAT\tMODE\tWHY")
	for _, i := range list {
		fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\n", i.Who, i.UID, i.PID, i.What, i.Mode, i.Why)
	}
	return t.Flush()
}

func inhibitCommand(o *options) *cobra.Command {
	var who, why, mode string
	cmd := &cobra.Command{
		Use:   "inhibit [OPTIONS] COMMAND [ARGUMENT...]",
		Short: "Run a command and keep live updates from happening meanwhile",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if who == "" {
				who = strings.Join(args, " ")
				who = who[:min(len(who), 200)]
			}
			var lock dbus.UnixFD
			if err := ask(cmd, o, loadTimeout, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "Inhibit", "live-update", strings.ToValidUTF8(who, "?"), why, mode).Store(&lock)
			}); err != nil {
				return err
			}
			held := os.NewFile(uintptr(lock), "inhibitor")
			defer held.Close()
			run := exec.Command(args[0], args[1:]...)
			run.Stdin, run.Stdout, run.Stderr = os.Stdin, os.Stdout, os.Stderr
			err := run.Run()
			var exit *exec.ExitError
			if errors.As(err, &exit) && exit.ExitCode() > 0 {
				return &exitCode{exit.ExitCode()}
			}
			if err != nil {
				return fmt.Errorf("run %s: %w", args[0], err)
			}
			return nil
		},
	}
	cmd.Flags().SetInterspersed(false)
	cmd.Flags().StringVar(&who, "who", "", "say that this is `WHO` inhibits; the command by default")
	cmd.Flags().StringVar(&why, "why", "unknown reason", "say that this is `WHY`")
	cmd.Flags().StringVar(&mode, "mode", "block", "block updates, or delay them (5 s at most)")
	return cmd
}

// exitCode is another command's, which has said what was wrong.
type exitCode struct{ code int }

func (e *exitCode) Error() string { return fmt.Sprintf("exit code %d", e.code) }
