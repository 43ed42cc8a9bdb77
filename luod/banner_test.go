package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/journallog"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

func TestTheBannerLastsAsLongAsTheTrouble(t *testing.T) {
	defer unix.Umask(unix.Umask(0o077)) // as luod.service has it
	run := t.TempDir()
	if err := os.Mkdir(filepath.Join(run, "luod"), 0o755); err != nil {
		t.Fatal(err)
	}
	var bad = []restorer.Loss{{Unit: "a.service", Name: "x"}, {Unit: "a.service", Name: "y"}}
	var accepted = []restorer.Loss{{Unit: "a.service", Name: "x", Discarded: true}, {Unit: "a.service", Name: "y", Discarded: true}}
	b := newBanner(run, true)
	for _, c := range []struct {
		what   string
		status coordinator.Status
		want   string
	}{
		{"well", coordinator.Status{}, ""},
		{"degraded", coordinator.Status{Degraded: "why"}, "luod could not restore what the previous kernel handed over; it is kept, so don't reboot.\nSee 'luoctl status'.\n"},
		{"lost", coordinator.Status{Generation: 3, Lost: bad}, "Live update 3 lost memory: 2 file descriptors of 1 services.\nSee 'luoctl status'.\n"},
		{"one discarded", coordinator.Status{Generation: 3, Lost: append(bad[:1:1], accepted[1])}, "Live update 3 lost memory: 1 file descriptors of 1 services.\nSee 'luoctl status'.\n"},
		{"discarded", coordinator.Status{Generation: 3, Lost: accepted}, ""},
		{"nothing came", coordinator.Status{Warning: "why"}, "Services may have lost their memory in a live update.\nSee 'luoctl status'.\n"},
	} {
		b.show(c.status)
		expectBanner(t, run, c.what, c.want)
	}
	// A luod that is restarted goes by its own settings.
	newBanner(run, true).show(coordinator.Status{})
	expectBanner(t, run, "restarted", "")
	b.show(coordinator.Status{Degraded: "why"})
	newBanner(run, false).show(coordinator.Status{Degraded: "why"})
	expectBanner(t, run, "switched off", "")
	if entries, err := os.ReadDir(filepath.Join(run, "luod")); err != nil || len(entries) > 0 {
		t.Errorf("left over: %v, %v", entries, err)
	}
}

func newBanner(run string, enabled bool) *banner {
	return &banner{run: run, enabled: enabled, log: slog.New(journallog.New(io.Discard))}
}

func expectBanner(t *testing.T, run, what, want string) {
	t.Helper()
	for dir, name := range map[string]string{"issue.d": "50-luod.issue", "motd.d": "50-luod"} {
		entries, _ := os.ReadDir(filepath.Join(run, dir))
		if want == "" {
			if len(entries) > 0 {
				t.Errorf("%s: there is %v in %s", what, entries, dir)
			}
			continue
		}
		text, err := os.ReadFile(filepath.Join(run, dir, name))
		if err != nil || string(text) != want || len(entries) != 1 {
			t.Errorf("%s: %q, %v, want %q", what, text, err, want)
		}
		for path, mode := range map[string]os.FileMode{dir: 0o755 | os.ModeDir, filepath.Join(dir, name): 0o644} {
			if info, err := os.Stat(filepath.Join(run, path)); err != nil || info.Mode() != mode {
				t.Errorf("%s: the mode of %s is %v, %v", what, path, info.Mode(), err)
			}
		}
	}
}
