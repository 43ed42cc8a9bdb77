package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// palette paints words, or leaves them.
type palette bool

// colours is on for a terminal, unless NO_COLOR is set or the terminal is dumb.
func colours(f *os.File) palette {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func (p palette) good(s string) string { return p.paint("32", s) }
func (p palette) bad(s string) string  { return p.paint("31;1", s) }

func (p palette) doubtful(s string) string { return p.paint("33", s) }

func (p palette) paint(code, s string) string {
	if !p {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}
