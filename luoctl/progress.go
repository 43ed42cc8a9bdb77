package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// follow shows where the update stands: on a terminal all services, drawn anew
// again and again in place, and elsewhere a line once a second.
func (d *daemon) follow(w io.Writer) (stop func()) {
	f, isFile := w.(*os.File)
	rows, columns, terminal := 0, 0, false
	if isFile {
		rows, columns, terminal = terminalSize(f)
	}
	if !terminal {
		return every(time.Second, func(since time.Duration) {
			// If luod doesn't answer, the call itself will say what is wrong.
			if s, err := d.status(context.Background()); err == nil {
				fmt.Fprintln(w, standing(s, since))
			}
		})
	}
	v := view{palette: colours(f), rows: rows, columns: columns}
	end := every(200*time.Millisecond, func(since time.Duration) {
		if s, err := d.status(context.Background()); err == nil {
			io.WriteString(w, v.draw(s, since, monotonicNow()))
		}
	})
	return func() {
		end()
		io.WriteString(w, v.clear())
	}
}

// terminalSize is false for what is no terminal, or one that can't move its cursor.
func terminalSize(f *os.File) (rows, columns int, is bool) {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return 0, 0, false
	}
	rows, columns = int(size.Row), int(size.Col)
	if rows == 0 || columns == 0 { // a serial line
		rows, columns = 24, 80
	}
	return rows, columns, true
}

// monotonicNow is in µs, as luod's deadlines are.
func monotonicNow() uint64 {
	var now unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &now) != nil {
		return 0
	}
	return uint64(now.Nano() / 1000)
}

// view draws the progress over what it drew before.
type view struct {
	palette       palette
	rows, columns int
	drawn         int
}

func (v *view) draw(s status, since time.Duration, now uint64) string {
	lines := []string{fmt.Sprintf("Live update %d: %s … %d s", s.Generation+1, s.Phase, int(since.Seconds()))}
	room := max(1, v.rows-3)
	for i, service := range s.Services {
		if i == room && len(s.Services) > room {
			lines = append(lines, fmt.Sprintf("  and %d more", len(s.Services)-room))
			break
		}
		mark, word := "·", service.State
		paint := func(s string) string { return s }
		switch service.State {
		case "ready":
			mark, paint = "●", v.palette.good
		case "failed":
			mark, paint = "×", v.palette.bad
		case "preparing":
			mark, paint = "○", v.palette.doubtful
			if service.Deadline > now {
				word += fmt.Sprintf(", %d s left", (service.Deadline-now)/1_000_000)
			}
		}
		text := []rune(fmt.Sprintf("%s  %s%s", service.Unit, word, because(service.Reason)))
		if most := max(10, v.columns-5); len(text) > most {
			text = append(text[:most-1], '…')
		}
		lines = append(lines, "  "+paint(mark)+" "+string(text))
	}
	text := v.clear() + strings.Join(lines, "\n") + "\n"
	v.drawn = len(lines)
	return text
}

// clear takes away what was drawn.
func (v *view) clear() string {
	if v.drawn == 0 {
		return ""
	}
	text := fmt.Sprintf("\x1b[%dA\x1b[J", v.drawn)
	v.drawn = 0
	return text
}

// standing is the progress in a line.
func standing(s status, since time.Duration) string {
	var ready int
	var waiting []string
	for _, v := range s.Services {
		switch v.State {
		case "ready":
			ready++
		case "preparing":
			waiting = append(waiting, v.Unit)
		}
	}
	line := fmt.Sprintf("%s … %d s", s.Phase, int(since.Seconds()))
	if len(s.Services) > 0 {
		line += fmt.Sprintf(", %d of %d services ready", ready, len(s.Services))
	}
	if len(waiting) > 0 {
		line += ", waiting for " + strings.Join(waiting, ", ")
	}
	return line
}

// progress says that something goes on if it takes over a second.
func progress(w io.Writer, what string) (stop func()) {
	return every(time.Second, func(since time.Duration) { fmt.Fprintf(w, "%s … %d s\n", what, int(since.Seconds())) })
}

// every calls f at each interval, with the time since now, until stop, which waits
// for a call that is under way.
func every(interval time.Duration, f func(since time.Duration)) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		start := time.Now()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f(time.Since(start))
			}
		}
	}()
	return sync.OnceFunc(func() {
		close(done)
		<-ended
	})
}
