package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// version is set by the linker.
var version = "dev"

// options are the flags that every verb has.
type options struct {
	json          bool
	noAskPassword bool
}

func main() {
	if err := root().Execute(); err != nil {
		var other *exitCode
		if errors.As(err, &other) {
			os.Exit(other.code)
		}
		fmt.Fprintln(os.Stderr, "luoctl: "+strings.TrimPrefix(err.Error(), "luoctl: "))
		os.Exit(1)
	}
}

func root() *cobra.Command {
	o := &options{}
	cmd := &cobra.Command{
		Use:           "luoctl",
		Short:         "Control live updates: another kernel, and services keep their memory",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return runStatus(cmd, o) },
	}
	cmd.PersistentFlags().BoolVar(&o.json, "json", false, "print JSON")
	cmd.PersistentFlags().BoolVar(&o.noAskPassword, "no-ask-password", false, "do not ask for a password when a privilege is missing")
	cmd.AddCommand(statusCommand(o), listCommand(o), entriesCommand(o), checkCommand(o), loadCommand(o), unloadCommand(o), liveUpdateCommand(o), cancelCommand(o), discardCommand(o), reportCommand(o), blameCommand(o), plotCommand(o), enableCommand(o), disableCommand(o), inhibitCommand(o), inhibitorsCommand(o), verbCommand(o))
	return cmd
}
