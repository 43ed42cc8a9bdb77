package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
)

// status is what luoctl status prints, as JSON under these names.
type status struct {
	Phase           string   `json:"phase"`
	Generation      uint64   `json:"generation"`
	Kernel          string   `json:"kernel"`
	Unsupported     string   `json:"unsupported"`
	Degraded        string   `json:"degraded"`
	Warning         string   `json:"warning"`
	LoadedKernel    string   `json:"loadedKernel"`
	LoadedRelease   string   `json:"loadedRelease"`
	LoadedInitrds   []string `json:"loadedInitrds"`
	LoadedCommand   string   `json:"loadedCommandLine"`
	Units           uint64   `json:"units"`
	FileDescriptors uint64   `json:"fileDescriptors"`
	// Bytes is the size of all that is held.
	Bytes     uint64   `json:"bytes"`
	Waiting   []string `json:"waiting"`
	OldKernel string   `json:"oldKernel"`
	Lost      []loss   `json:"lost"`
	TimeLine  []mark   `json:"timeLine"`
	LastError string   `json:"lastError"`
	// Scheduled is when the next is to begin, in µs of the wall clock, or 0.
	Scheduled uint64 `json:"scheduled"`
	// Services are being prepared, LeftBehind were not ready and left out.
	Services   []service    `json:"services"`
	LeftBehind []leftBehind `json:"leftBehind"`
}

// service is one that is being prepared; Deadline is in µs of CLOCK_MONOTONIC.
type service struct {
	Unit     string `json:"unit"`
	State    string `json:"state"`
	Reason   string `json:"reason"`
	Deadline uint64 `json:"deadline"`
}

type leftBehind struct {
	Unit   string `json:"unit"`
	Reason string `json:"reason"`
}

type loss struct {
	Unit   string `json:"unit"`
	Name   string `json:"name"`
	Reason string `json:"reason"`
}

// mark is a moment in µs of the wall clock.
type mark struct {
	Name string `json:"name"`
	Usec uint64 `json:"usec"`
}

func statusCommand(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Show what luod holds, which kernel is loaded, and the last update's time line",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return runStatus(cmd, o) },
	}
}

func runStatus(cmd *cobra.Command, o *options) error {
	s, err := readStatus(cmd.Context(), o)
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), s)
	}
	printStatus(cmd.OutOrStdout(), s, colours(os.Stdout))
	return nil
}

func readStatus(ctx context.Context, o *options) (status, error) {
	d, err := connect(o)
	if err != nil {
		return status{}, err
	}
	defer d.close()
	return d.status(ctx)
}

func (d *daemon) status(ctx context.Context) (status, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	props, err := d.properties(ctx)
	if err != nil {
		return status{}, err
	}
	var s status
	for name, into := range map[string]any{
		"Phase": &s.Phase, "Generation": &s.Generation, "Kernel": &s.Kernel,
		"Unsupported": &s.Unsupported, "Degraded": &s.Degraded, "Warning": &s.Warning,
		"LoadedKernel": &s.LoadedKernel, "LoadedRelease": &s.LoadedRelease,
		"LoadedInitrds": &s.LoadedInitrds, "LoadedCommandLine": &s.LoadedCommand,
		"Units": &s.Units, "FileDescriptors": &s.FileDescriptors, "Bytes": &s.Bytes,
		"Waiting": &s.Waiting, "OldKernel": &s.OldKernel, "Lost": &s.Lost,
		"TimeLine": &s.TimeLine, "LastError": &s.LastError,
		"Scheduled": &s.Scheduled, "Services": &s.Services, "LeftBehind": &s.LeftBehind,
	} {
		if err := dbus.Store([]any{props[name].Value()}, into); err != nil {
			return s, fmt.Errorf("read the property %s: %w", name, err)
		}
	}
	return s, nil
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

func printStatus(w io.Writer, s status, c palette) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%15s: %s\n", name, fmt.Sprintf(format, args...))
	}
	state := c.good(s.Phase)
	if s.Degraded != "" {
		state = c.bad("degraded") + " (" + s.Phase + ")"
	}
	line("State", "%s, generation %d", state, s.Generation)
	if s.OldKernel != "" {
		line("Kernel", "%s, updated from %s", s.Kernel, s.OldKernel)
	} else {
		line("Kernel", "%s", s.Kernel)
	}
	if s.LoadedKernel != "" {
		line("Loaded", "%s (%s)", s.LoadedRelease, s.LoadedKernel)
		for _, initrd := range s.LoadedInitrds {
			line("Initrd", "%s", initrd)
		}
		line("Command Line", "%s", s.LoadedCommand)
	} else {
		line("Loaded", "none")
	}
	line("Held", "%s of %s, %s", count(s.FileDescriptors, "file descriptor"), count(s.Units, "unit"), size(s.Bytes))
	if len(s.Waiting) > 0 {
		line("Waiting", "%s", strings.Join(s.Waiting, ", "))
	}
	if s.Scheduled > 0 {
		line("Scheduled", "%s", time.UnixMicro(int64(s.Scheduled)).Format(time.DateTime))
	}
	for _, v := range s.Services {
		line("Service", "%s %s%s", v.Unit, v.State, because(v.Reason))
	}
	for _, l := range s.LeftBehind {
		line("Left Behind", "%s%s", c.bad(l.Unit), because(l.Reason))
	}
	for _, l := range s.Lost {
		line("Lost", "%s of %s: %s", c.bad(l.Name), l.Unit, l.Reason)
	}
	for _, p := range []struct{ name, text string }{
		{"Unsupported", s.Unsupported}, {"Degraded", s.Degraded}, {"Warning", s.Warning},
	} {
		if p.text != "" {
			line(p.name, "%s", c.bad(p.text))
		}
	}
	if s.LastError != "" {
		line("Last Error", "%s", s.LastError)
	}
	printTimeLine(w, s.TimeLine)
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// printTimeLine shows each moment in seconds after the first.
func printTimeLine(w io.Writer, marks []mark) {
	for i, m := range marks {
		name := ""
		if i == 0 {
			name = "Time Line:"
		}
		fmt.Fprintf(w, "%16s %+8.3f s  %s\n", name, float64(int64(m.Usec)-int64(marks[0].Usec))/1e6, m.Name)
	}
}

func count(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// size is a number of bytes as systemctl shows it.
func size(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%dB", n)
	}
	f, i := float64(n)/1024, 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	return fmt.Sprintf("%.1f%c", f, units[i])
}
