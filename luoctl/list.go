package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/liveupdate/luod/internal/entryname"
)

// held is one descriptor.
type held struct {
	Unit string `json:"unit"`
	// Name is luod's, see package entryname.
	Name string `json:"name"`
	// Size is in bytes, Seals are F_SEAL_* bits of fcntl(2).
	Size  uint64 `json:"size"`
	Seals uint32 `json:"seals"`
	State string `json:"state"`
}

func listCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:     "list [UNIT...]",
		Aliases: []string{"fds"},
		Short:   "List the file descriptors that luod holds, of all units or of these",
		RunE: func(cmd *cobra.Command, args []string) error {
			list := []held{}
			if err := ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
				return d.call(ctx, "ListFileDescriptors").Store(&list)
			}); err != nil {
				return err
			}
			list = slices.DeleteFunc(list, func(h held) bool {
				return len(args) > 0 && !slices.ContainsFunc(args, func(arg string) bool { return unitName(arg) == h.Unit })
			})
			if o.json {
				return printJSON(cmd.OutOrStdout(), list)
			}
			return printList(cmd.OutOrStdout(), list)
		},
	}
}

func printList(w io.Writer, list []held) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "No file descriptors are held.")
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "UNIT\tNAME\tSIZE\tSEALS\tSTATE")
	var bytes, restored uint64
	units := map[string]bool{}
	for _, h := range list {
		much := size(h.Size)
		switch {
		case entryname.Recreated(h.Name):
			much = "re-created"
		case entryname.Same(h.Name):
			much = "shared"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", h.Unit, entryname.PlainName(h.Name), much, seals(h.Seals), h.State)
		bytes += h.Size
		if h.State == "waiting" || h.State == "fetched" {
			restored += h.Size
		}
		units[h.Unit] = true
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s of %s, %s.\n", count(uint64(len(list)), "file descriptor"), count(uint64(len(units)), "unit"), size(bytes)); err != nil || restored == 0 {
		return err
	}
	// The kernel charges the pages to the task that retrieves the file (mm/memfd_luo.c).
	_, err := fmt.Fprintf(w, "%s of that came through an update, and is charged to luod.service until it is freed.\n", size(restored))
	return err
}

// seals names the F_SEAL_* bits of include/uapi/linux/fcntl.h.
func seals(bits uint32) string {
	text := ""
	for i, name := range []string{"seal", "shrink", "grow", "write", "future-write", "exec"} {
		if bits&(1<<i) != 0 {
			if text != "" {
				text += ","
			}
			text += name
		}
	}
	if text == "" {
		return "-"
	}
	return text
}
