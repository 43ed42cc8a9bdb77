package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// checkResult is what one check found.
type checkResult struct {
	Name    string `json:"name"`
	Verdict string `json:"verdict"`
	Reason  string `json:"reason"`
	Remedy  string `json:"remedy,omitempty"`
}

// checkReport is what all checks found of a kernel.
type checkReport struct {
	Kernel      string        `json:"kernel"`
	Profile     uint32        `json:"profile"`
	Initrds     []string      `json:"initrds"`
	CommandLine string        `json:"commandLine"`
	Release     string        `json:"release"`
	Digest      string        `json:"digest"`
	Checks      []checkResult `json:"checks"`
}

var errChecksFailed = errors.New("this kernel can't take the machine's memory over")

func checkCommand(o *options) *cobra.Command {
	var f kernelFlags
	cmd := &cobra.Command{
		Use:   "check [ENTRY]",
		Short: "Check whether a kernel can take this machine's memory over",
		Long: "Run all checks that precede a live update, and change nothing. " + entryHelp + "what is loaded, or else the\n" +
			"default boot entry. The exit code is 0 if no check fails, and 1 otherwise.",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r checkReport
			stop := progress(cmd.ErrOrStderr(), "Checking")
			err := ask(cmd, o, loadTimeout, func(ctx context.Context, d *daemon) (err error) {
				r, err = d.kernel(ctx, "Check", args, f)
				return err
			})
			stop()
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				printChecks(cmd.OutOrStdout(), r, colours(os.Stdout))
			}
			if err == nil && slices.ContainsFunc(r.Checks, func(c checkResult) bool { return c.Verdict == "fail" && !slices.Contains(f.force, c.Name) }) {
				return errChecksFailed
			}
			return err
		},
	}
	f.register(cmd)
	return cmd
}

func printChecks(w io.Writer, r checkReport, c palette) {
	width := 0
	for _, check := range r.Checks {
		width = max(width, len(check.Name))
	}
	counts := map[string]int{}
	for _, check := range r.Checks {
		counts[check.Verdict]++
		word := fmt.Sprintf("%-4s", check.Verdict)
		switch check.Verdict {
		case "ok":
			word = c.good(word)
		case "fail":
			word = c.bad(word)
		default:
			word = c.doubtful(word)
		}
		fmt.Fprintf(w, "%s  %-*s  %s\n", word, width, check.Name, check.Reason)
		if check.Remedy != "" {
			fmt.Fprintf(w, "%s→ %s\n", strings.Repeat(" ", width+8), check.Remedy)
		}
	}
	fmt.Fprintf(w, "\n%s: %d ok, %d warnings, %d failed.\n", r.Kernel, counts["ok"], counts["warn"], counts["fail"])
}
