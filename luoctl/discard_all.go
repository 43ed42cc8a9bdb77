package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"
)

// exitHeld is the exit code of a dry run that has found something, or a luod that says why
// it can't look, so that a script can tell that from a luod that can't be asked.
const exitHeld = 3

// discardAll is how everything is given up.
type discardAll struct {
	force, dryRun, json bool
	in                  io.Reader
	// terminal says that somebody is there to answer.
	terminal       bool
	out, questions io.Writer
}

// run asks luod what there is, and has it given up on somebody's word.
func (h discardAll) run(luod func(dryRun bool) (stakes, error)) error {
	held, err := luod(true)
	if h.dryRun && refusedByLuod(err) {
		fmt.Fprintln(h.questions, "luoctl: "+err.Error())
		return &exitCode{exitHeld}
	}
	if err != nil {
		return err
	}
	if h.dryRun || held.none() {
		if err := h.show(h.out, held); err != nil {
			return err
		}
		if !held.none() {
			return &exitCode{exitHeld}
		}
		return nil
	}
	if !h.force {
		if !h.terminal {
			return errors.New("discard everything: luod holds something, and there is no terminal to ask whether that shall be lost; 'luoctl discard --all --dry-run' shows it, --force doesn't ask")
		}
		printStakes(h.questions, held)
		fmt.Fprint(h.questions, "\nGive all of it up, for good? [y/N] ")
		answer, _ := bufio.NewReader(h.in).ReadString('\n')
		if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
			return errors.New("nothing was given up")
		}
	}
	if held, err = luod(false); err != nil {
		return err
	}
	if h.json {
		return printJSON(h.out, held)
	}
	_, err = fmt.Fprintf(h.out, "Gave up %s.\n", held.sum())
	return err
}

func (h discardAll) show(w io.Writer, s stakes) error {
	if h.json {
		return printJSON(w, s)
	}
	printStakes(w, s)
	return nil
}

func printStakes(w io.Writer, s stakes) {
	if s.none() {
		fmt.Fprintln(w, "luod holds nothing.")
		return
	}
	if len(s.Units) > 0 {
		t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "UNIT\tHELD\tNOT FETCHED\tSIZE")
		for _, u := range s.Units {
			fmt.Fprintf(t, "%s\t%d\t%d\t%s\n", u.Unit, u.Count, u.Waiting, size(u.Bytes))
		}
		t.Flush()
		fmt.Fprintln(w)
	}
	if s.Stuck > 0 {
		fmt.Fprintf(w, "%s that luod only keeps open, since nobody knows what is in them.\n", count(s.Stuck, "session"))
	}
	if s.Unread != "" {
		fmt.Fprintf(w, "What came through a live update and nobody knows whose it is: %s.\n", s.Unread)
	}
	fmt.Fprintf(w, "luod holds %s. Without it, what was not fetched is lost at once, and the rest when its unit is started anew.\n", s.sum())
}

// sum is all of it in a few words.
func (s stakes) sum() string {
	var parts []string
	if len(s.Units) > 0 {
		var n, bytes uint64
		for _, u := range s.Units {
			n, bytes = n+u.Count, bytes+u.Bytes
		}
		parts = append(parts, fmt.Sprintf("%s of %s (%s)", things(n), count(uint64(len(s.Units)), "unit"), size(bytes)))
	}
	if s.Stuck > 0 {
		parts = append(parts, count(s.Stuck, "session")+" that nobody knows")
	}
	if s.Unread != "" {
		parts = append(parts, "what could not be restored")
	}
	if parts == nil {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func things(n uint64) string {
	if n == 1 {
		return "1 file descriptor or session"
	}
	return fmt.Sprintf("%d file descriptors and sessions", n)
}

// onlyIf is an option that is given only if it is so.
func onlyIf(name string, is bool) map[string]dbus.Variant {
	if !is {
		return map[string]dbus.Variant{}
	}
	return map[string]dbus.Variant{name: dbus.MakeVariant(true)}
}

// isTerminal says whether somebody can answer there.
func isTerminal(r io.Reader) bool {
	f, is := r.(*os.File)
	if !is {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
