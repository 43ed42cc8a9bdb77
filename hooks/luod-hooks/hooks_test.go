package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/hooksdir"
)

// script writes an executable.
func script(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// do runs the hooks in dirs and returns what they and luod-hooks said.
func do(t *testing.T, phase string, timeout time.Duration, dirs ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, problems bytes.Buffer
	err = run(context.Background(), options{phase: phase, generation: "7", timeout: timeout, directories: dirs}, &out, &problems)
	return out.String(), problems.String(), err
}

func TestPrecedenceOrderAndMasks(t *testing.T) {
	etc, usr := filepath.Join(t.TempDir(), "etc"), filepath.Join(t.TempDir(), "usr")
	script(t, usr, "20-b", `echo usr-b "$@" $LUOD_PHASE $LUOD_GENERATION`)
	script(t, usr, "10-a", "echo usr-a")
	script(t, usr, "30-masked", "echo masked")
	script(t, usr, "40-hidden", "echo hidden")
	script(t, usr, "50-old~", "echo backup")
	script(t, usr, "60-empty", "echo emptied")
	script(t, etc, "40-hidden", "echo etc-d")
	if err := os.Symlink("/dev/null", filepath.Join(etc, "30-masked")); err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"60-empty": 0o755, "70-plain": 0o644} {
		if err := os.WriteFile(filepath.Join(etc, name), []byte(map[bool]string{true: "x"}[mode == 0o644]), mode); err != nil {
			t.Fatal(err)
		}
	}
	out, problems, err := do(t, "prepare", time.Minute, etc, usr, filepath.Join(etc, "none"))
	if want := "10-a: usr-a\n20-b: usr-b prepare 7 prepare 7\n40-hidden: etc-d\n"; err != nil || out != want {
		t.Errorf("%v, got\n%swant\n%s", err, out, want)
	}
	if !strings.Contains(problems, "70-plain: it is not executable") {
		t.Errorf("said %q", problems)
	}
	var list bytes.Buffer
	hooks, _ := hooksdir.Find([]string{etc, usr})
	hooksdir.Print(&list, hooks)
	for _, line := range []string{"run    " + usr + "/10-a", "mask   " + etc + "/30-masked", "hidden " + usr + "/40-hidden by " + etc + "/40-hidden"} {
		if !strings.Contains(list.String(), line+"\n") {
			t.Errorf("%q is not in\n%s", line, list.String())
		}
	}
}

func TestAVetoStopsPreparationAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "10-no", "echo some detail >&2; echo it is noon >&2; exit 3")
	script(t, dir, "20-after", "echo after")
	out, _, err := do(t, "prepare", time.Minute, dir)
	if err == nil || err.Error() != "hook 10-no: exit status 3: it is noon" || out != "" {
		t.Errorf("%v, %q", err, out)
	}
	out, _, err = do(t, "commit", time.Minute, dir)
	if err == nil || out != "20-after: after\n" {
		t.Errorf("%v, %q", err, out)
	}
}

func TestAHookThatHangsIsKilledWithItsChildren(t *testing.T) {
	dir, alive := t.TempDir(), filepath.Join(t.TempDir(), "alive")
	script(t, dir, "10-hang", "(sleep 1; echo x > "+alive+") & sleep 100")
	start := time.Now()
	_, _, err := do(t, "prepare", 100*time.Millisecond, dir)
	if err == nil || !strings.Contains(err.Error(), "10-hang: it did not end within 100ms") || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
	time.Sleep(1200 * time.Millisecond)
	if _, err := os.Stat(alive); err == nil {
		t.Error("its child lives")
	}
}

func TestAHookMayLeaveAProcessBehind(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "10-daemon", "sleep 1 & echo done")
	r := runner{phase: "commit", generation: "7", timeout: time.Minute, killDelay: 50 * time.Millisecond, stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)}
	hooks, err := hooksdir.Find([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if failed := r.all(context.Background(), hooks); len(failed) > 0 {
		t.Error(failed)
	}
}

func TestWhoCantBeReadVetoes(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/nonexistent", filepath.Join(dir, "10-broken")); err != nil {
		t.Fatal(err)
	}
	script(t, dir, "20-fine", "echo fine")
	if out, _, err := do(t, "prepare", time.Minute, dir); err == nil || out != "" {
		t.Errorf("%v, %q", err, out)
	}
	if out, _, err := do(t, "restore", time.Minute, dir); err == nil || out != "20-fine: fine\n" {
		t.Errorf("%v, %q", err, out)
	}
}

func TestTheWallIsTold(t *testing.T) {
	dir := t.TempDir()
	script(t, dir, "wall", "cat > "+dir+"/said")
	o := options{wall: "good bye", wallProgram: filepath.Join(dir, "wall")}
	if err := run(context.Background(), o, new(bytes.Buffer), new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	if said, _ := os.ReadFile(dir + "/said"); string(said) != "good bye\n" {
		t.Errorf("said %q", said)
	}
}

func TestArguments(t *testing.T) {
	for _, c := range []struct {
		args string
		ok   bool
	}{
		{"prepare 3", true}, {"--list", true}, {"--wall=x", true}, {"--wall=x cancel 3", true}, {"--timeout=3s restore 18446744073709551615", true},
		{"", false}, {"prepare", false}, {"explode 3", false}, {"prepare -1", false}, {"prepare x", false}, {"prepare 3 4", false}, {"--timeout=0 prepare 3", false}, {"--huh", false},
	} {
		if _, err := parse(strings.Fields(c.args)); (err == nil) != c.ok {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestOutputIsBoundedAndClean(t *testing.T) {
	var out bytes.Buffer
	p := &prefixer{w: &out, name: "x"}
	_, _ = p.Write(bytes.Repeat([]byte("a"), 3*maxLine))
	_, _ = p.Write([]byte("\nlast\x01\xff"))
	p.finish()
	for line := range strings.Lines(out.String()) {
		if len(line) > maxLine+10 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
	if last := p.lastLine(); last != "last ?" {
		t.Errorf("the last line is %q", last)
	}
}
