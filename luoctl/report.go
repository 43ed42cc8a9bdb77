package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/printable"
)

// report is what became of everything in one update.
type report struct {
	Generation uint64       `json:"generation"`
	OldKernel  string       `json:"oldKernel"`
	Kernel     string       `json:"kernel"`
	Files      []reportFile `json:"files"`
	Complete   bool         `json:"complete"`
	LeftBehind []leftBehind `json:"leftBehind"`
	TimeLine   []mark       `json:"timeLine"`
}

type reportFile struct {
	Unit     string `json:"unit"`
	Name     string `json:"name"`
	Size     uint64 `json:"size"`
	Outcome  string `json:"outcome"`
	Reason   string `json:"reason,omitempty"`
	Verified bool   `json:"verified"`
	Session  bool   `json:"session,omitempty"`
	Carrier  string `json:"carrier,omitempty"`
	Shared   bool   `json:"shared,omitempty"`
}

func readReport(cmd *cobra.Command, o *options, args []string) (report, error) {
	var r report
	generation := uint64(0)
	if len(args) > 0 {
		var err error
		if generation, err = strconv.ParseUint(args[0], 10, 64); err != nil || generation == 0 {
			return r, fmt.Errorf("%q is no generation: it is the number of a live update since the last cold boot", args[0])
		}
	}
	return r, ask(cmd, o, time.Minute, func(ctx context.Context, d *daemon) error {
		var text string
		if err := d.call(ctx, "Report", generation).Store(&text); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			return fmt.Errorf("read luod's report: %w", err)
		}
		r = printable.All(r, nil)
		return nil
	})
}

// reportVerb is a verb that shows a report in some way.
func reportVerb(o *options, use, short string, show func(io.Writer, report) error) *cobra.Command {
	return &cobra.Command{
		Use:   use + " [GENERATION]",
		Short: short,
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := readReport(cmd, o, args)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return show(cmd.OutOrStdout(), r)
		},
	}
}

func reportCommand(o *options) *cobra.Command {
	return reportVerb(o, "report", "Show what became of everything in the last live update, or an earlier one", printReport)
}

func blameCommand(o *options) *cobra.Command {
	return reportVerb(o, "blame", "Show what took the time in a live update, the longest first", printBlame)
}

func plotCommand(o *options) *cobra.Command {
	return reportVerb(o, "plot", "Draw the time line of a live update as SVG", printPlot)
}

func printReport(w io.Writer, r report) error {
	state := "complete"
	if !r.Complete {
		state = "not everything was fetched"
	}
	fmt.Fprintf(w, "Live update %d, from %s to %s: %s.\n", r.Generation, r.OldKernel, r.Kernel, state)
	fetched := map[string]mark{}
	for _, m := range r.TimeLine {
		if unit, is := strings.CutPrefix(m.Name, "fetched "); is {
			fetched[unit] = m
		}
	}
	counts := map[string]int{}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(r.Files) > 0 {
		fmt.Fprintln(t, "\nUNIT\tNAME\tSIZE\tOUTCOME\tCHECKSUM\tFETCHED")
	}
	for _, f := range r.Files {
		counts[f.Outcome]++
		much, sum, when := size(f.Size), "-", "-"
		switch {
		case f.Session:
			much = "session"
		case f.Shared:
			much = "shared"
		case entryname.Recreated(f.Name):
			much = "-"
		}
		outcome := f.Outcome
		if f.Carrier != "" {
			much = "-"
			outcome += " by " + f.Carrier
		}
		if f.Verified {
			sum = "equal"
		}
		if m, is := fetched[f.Unit]; is && len(r.TimeLine) > 0 && (f.Outcome == "preserved" || f.Outcome == "re-created") {
			when = fmt.Sprintf("%+.3f s", since(r.TimeLine, m))
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Unit, entryname.PlainName(f.Name), much, outcome+because(f.Reason), sum, when)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range r.LeftBehind {
		fmt.Fprintf(w, "\nLeft behind: %s%s\n", l.Unit, because(l.Reason))
	}
	anew := ""
	for _, outcome := range []string{"re-created", "to be re-created"} {
		if n := counts[outcome]; n > 0 {
			anew += fmt.Sprintf(" %d %s,", n, outcome)
		}
	}
	_, err := fmt.Fprintf(w, "\n%d preserved,%s %d lost, %d left behind.\n", counts["preserved"], anew, counts["lost"], len(r.LeftBehind))
	return err
}

// since is in seconds after the first mark.
func since(marks []mark, m mark) float64 { return float64(int64(m.Usec)-int64(marks[0].Usec)) / 1e6 }

// step is the time between two marks.
type step struct {
	name       string
	begin, end float64
}

// steps are what the time of an update goes to. Units fetch theirs each on its
// own, so each counts from when everything was restored.
func steps(marks []mark) []step {
	var list []step
	restored := -1
	previous := 0
	for i, m := range marks {
		if i == 0 {
			continue
		}
		unit, fetched := strings.CutPrefix(m.Name, "fetched ")
		switch {
		case fetched && restored >= 0:
			list = append(list, step{unit, since(marks, marks[restored]), since(marks, m)})
			continue
		case m.Name == "done":
			continue // it is the last unit's
		}
		list = append(list, step{marks[previous].Name + " → " + m.Name, since(marks, marks[previous]), since(marks, m)})
		previous = i
		if m.Name == "restored" {
			restored = i
		}
	}
	return list
}

func printBlame(w io.Writer, r report) error {
	list := steps(r.TimeLine)
	slices.SortStableFunc(list, func(a, b step) int {
		switch d := (b.end - b.begin) - (a.end - a.begin); {
		case d > 0:
			return 1
		case d < 0:
			return -1
		}
		return 0
	})
	for _, s := range list {
		if _, err := fmt.Fprintf(w, "%9.3fs %s\n", s.end-s.begin, s.name); err != nil {
			return err
		}
	}
	return nil
}

// printPlot draws a bar for each step below a scale in seconds.
func printPlot(w io.Writer, r report) error {
	const left, row, width = 20, 22, 900
	list := steps(r.TimeLine)
	total := 0.001
	for _, s := range list {
		total = max(total, s.end)
	}
	scale := width / total
	var b strings.Builder
	height := 70 + row*len(list)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n", left+width+420, height)
	fmt.Fprintf(&b, `<text x="%d" y="20" font-size="16">Live update %d: %s → %s</text>`+"\n", left, r.Generation, escape(r.OldKernel), escape(r.Kernel))
	tick := 1.0
	for total/tick > 30 {
		tick *= 5
	}
	for at := 0.0; at <= total; at += tick {
		x := left + at*scale
		fmt.Fprintf(&b, `<line x1="%.1f" y1="45" x2="%.1f" y2="%d" stroke="#ddd"/><text x="%.1f" y="40" text-anchor="middle" fill="#666">%g s</text>`+"\n", x, x, height-10, x, at)
	}
	for i, s := range list {
		y, colour := 50+row*i, "#4a90d9"
		switch {
		case !strings.Contains(s.name, " → "):
			colour = "#7ab648" // a service
		case strings.HasSuffix(s.name, "→ kernel started"):
			colour = "#d9694a" // nobody runs
		}
		fmt.Fprintf(&b, `<rect x="%.1f" y="%d" width="%.1f" height="%d" fill="%s"/><text x="%.1f" y="%d">%s (%.3f s)</text>`+"\n",
			left+s.begin*scale, y, max(1, (s.end-s.begin)*scale), row-6, colour, left+s.end*scale+5, y+row-10, escape(s.name), s.end-s.begin)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

// escape is for text in XML.
func escape(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;").Replace(text)
}
