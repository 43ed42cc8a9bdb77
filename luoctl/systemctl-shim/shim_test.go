package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	for line, want := range map[string]string{
		"":                                  "real",
		"status x.service":                  "real",
		"start live-update.target":          "real",
		"status live-update":                "real",
		"-p live-update show x":             "real",
		"--property live-update show x":     "real",
		"--property":                        "real",
		"kexec -- live-update":              "real",
		"--message live-update":             "real",
		"live-update":                       "live-update",
		"live-update --dry-run":             "live-update --dry-run",
		"--no-block live-update a.conf":     "live-update --no-block a.conf",
		"-- live-update -x":                 "live-update -x",
		"live-update --when=+5min -i":       "live-update --when=+5min --ignore-inhibitors",
		"live-update --when 22:30 -qi":      "live-update --when=22:30 --ignore-inhibitors",
		"live-update --check-inhibitors=no": "live-update --ignore-inhibitors",
		"live-update --check-inhibitors=x":  "error",
		"--no-wall --no-ask-password live-update --check-inhibitors auto": "live-update --no-wall --no-ask-password",
		"live-update --fast --message upgrade":                            "live-update --fast --message=upgrade",
		"-H box live-update":                                              "error",
		"-Hbox live-update":                                               "error",
		"--user live-update":                                              "error",
		"live-update --force":                                             "error",
		"live-update -f":                                                  "error",
		"live-update --job-mode":                                          "real",
		"live-update --now":                                               "error",
	} {
		argv := append([]string{"systemctl"}, strings.Fields(line)...)
		args, path, err := decide(argv)
		got := strings.Join(args[1:], " ")
		switch {
		case err != "":
			got = "error"
		case path == "":
			if !slices.Equal(args, argv) {
				t.Errorf("%q: the real one gets %q", line, args)
			}
			got = "real"
		}
		if got != want {
			t.Errorf("%q: %s (%s), want %s", line, got, err, want)
		}
	}
}

// build makes a shim whose world is a directory, and returns its path.
func build(t testing.TB) (dir, shim string) {
	t.Helper()
	dir = t.TempDir()
	shim = filepath.Join(dir, "sbin", "systemctl")
	for name, text := range map[string]string{"bin/systemctl": "real", "bin/luoctl": "luoctl"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\necho "+text+" \"$0\" \"$@\" $MARK\nexit 7\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// The first place is the shim itself, as with a copy in /usr/sbin.
	flags := "-X main.places=" + shim + ":" + dir + "/bin/systemctl -X main.luoctl=" + dir + "/bin/luoctl"
	if out, err := exec.Command("go", "build", "-ldflags", flags, "-o", shim, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir, shim
}

func TestItExecutesTheRightOne(t *testing.T) {
	dir, shim := build(t)
	run := func(args ...string) (string, int) {
		cmd := exec.Command(shim, args...)
		cmd.Env = append(os.Environ(), "MARK=kept")
		out, _ := cmd.CombinedOutput()
		return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
	}
	if out, code := run("restart", "a b"); out != "real "+dir+"/bin/systemctl restart a b kept" || code != 7 {
		t.Errorf("got %q, %d", out, code)
	}
	if out, code := run("live-update", "--dry-run"); out != "luoctl "+dir+"/bin/luoctl live-update --dry-run kept" || code != 7 {
		t.Errorf("got %q, %d", out, code)
	}
	if out, code := run("-H", "x", "live-update"); code != 1 || !strings.Contains(out, "runs on") {
		t.Errorf("got %q, %d", out, code)
	}
	if err := os.Remove(filepath.Join(dir, "bin/systemctl")); err != nil {
		t.Fatal(err)
	}
	if out, code := run("status"); code != 1 || !strings.Contains(out, "not to be found") {
		t.Errorf("got %q, %d", out, code)
	}
}

// BenchmarkShim and BenchmarkDirect differ by what the shim costs.
func BenchmarkShim(b *testing.B)   { bench(b, "sbin/systemctl") }
func BenchmarkDirect(b *testing.B) { bench(b, "bin/systemctl") }

func bench(b *testing.B, name string) {
	dir, _ := build(b)
	for b.Loop() {
		_ = exec.Command(filepath.Join(dir, name), "status").Run()
	}
}
