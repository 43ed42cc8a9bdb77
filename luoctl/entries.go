package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

// entry is something to boot, or with Error what can't be used.
type entry struct {
	ID          string   `json:"id"`
	Kind        string   `json:"kind"`
	Title       string   `json:"title"`
	Version     string   `json:"version"`
	Source      string   `json:"source"`
	Kernel      string   `json:"kernel"`
	Initrds     []string `json:"initrds"`
	CommandLine string   `json:"commandLine"`
	Default     bool     `json:"default"`
	Error       string   `json:"error,omitempty"`
}

func entriesCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "list-entries",
		Short: "List the boot entries and kernels that can be loaded",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := []entry{}
			if err := ask(cmd, o, loadTimeout, func(ctx context.Context, d *daemon) error {
				var answer []map[string]dbus.Variant
				if err := d.call(ctx, "ListEntries").Store(&answer); err != nil {
					return err
				}
				for _, values := range answer {
					var e entry
					for name, into := range map[string]any{
						"ID": &e.ID, "Kind": &e.Kind, "Title": &e.Title, "Version": &e.Version, "Source": &e.Source, "Kernel": &e.Kernel,
						"Initrds": &e.Initrds, "CommandLine": &e.CommandLine, "Default": &e.Default, "Error": &e.Error,
					} {
						if err := values[name].Store(into); err != nil {
							return fmt.Errorf("read luod's answer: %s: %w", name, err)
						}
					}
					list = append(list, e)
				}
				return nil
			}); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printEntries(cmd.OutOrStdout(), list)
		},
	}
}

func printEntries(w io.Writer, list []entry) error {
	usable := 0
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\tENTRY\tVERSION\tTITLE\tSOURCE")
	for _, e := range list {
		if e.Error != "" {
			continue
		}
		usable++
		mark := ""
		if e.Default {
			mark = "*"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", mark, e.ID, e.Version, e.Title, e.Source)
	}
	if usable > 0 {
		if err := t.Flush(); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(w, "There is no boot entry and no kernel in /boot.")
	}
	for _, e := range list {
		if e.Error != "" {
			fmt.Fprintf(w, "\nSkipped %s: %s\n", e.Source, e.Error)
		}
	}
	return nil
}
