package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// banner shows whoever logs in what is wrong, before (agetty(8)) and after it
// (pam_motd(8)), for as long as it is.
//
// Killed meanwhile: each text is the old one or the new one, and the next luod writes
// both again when it starts.
type banner struct {
	// run is /run, and enabled what LoginBanner= says.
	run     string
	enabled bool
	log     *slog.Logger
	// shown is what is there, once written says so.
	shown   string
	written bool
}

// show writes what there is to say of s, or removes it. It is called by one goroutine
// and does not wait for anything but a tmpfs.
func (b *banner) show(s coordinator.Status) {
	text := ""
	if b.enabled {
		text = trouble(s)
	}
	if b.written && text == b.shown {
		return
	}
	b.shown, b.written = text, true
	for _, name := range []string{"issue.d/50-luod.issue", "motd.d/50-luod"} {
		if err := b.put(filepath.Join(b.run, name), text); err != nil {
			b.log.Warn("the banner at the login could not be changed", "error", err)
		}
	}
}

// put replaces the file at path, or removes it if text is empty.
func (b *banner) put(path, text string) error {
	if text == "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	}
	// The modes are set, since luod's umask leaves nothing to others.
	dir := filepath.Dir(path)
	switch err := os.Mkdir(dir, 0o755); {
	case err == nil:
		if err := os.Chmod(dir, 0o755); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	// It is made elsewhere: everything in motd.d is shown.
	draft := filepath.Join(b.run, "luod", "banner")
	err := os.WriteFile(draft, []byte(text), 0o644)
	if err == nil {
		err = os.Chmod(draft, 0o644)
	}
	if err == nil {
		err = os.Rename(draft, path)
	}
	if err != nil {
		os.Remove(draft)
	}
	return err
}

// trouble is empty if all is well. It names no unit: it is shown to those who have
// not logged in yet, by agetty with escapes in it.
func trouble(s coordinator.Status) string {
	var lines []string
	if s.Degraded != "" {
		lines = append(lines, "luod could not restore what the previous kernel handed over; it is kept, so don't reboot.")
	}
	lost, units := 0, map[string]bool{}
	for _, l := range s.Lost {
		if !l.Discarded {
			lost, units[l.Unit] = lost+1, true
		}
	}
	if lost > 0 {
		lines = append(lines, fmt.Sprintf("Live update %d lost memory: %d file descriptors of %d services.", s.Generation, lost, len(units)))
	}
	if s.Warning != "" {
		lines = append(lines, "Services may have lost their memory in a live update.")
	}
	if lines == nil {
		return ""
	}
	return strings.Join(append(lines, "See 'luoctl status'."), "\n") + "\n"
}
