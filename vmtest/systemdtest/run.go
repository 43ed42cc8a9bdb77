package systemdtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// runTimeout bounds a script.
const runTimeout = 60 * time.Second

// Result is what became of a script.
type Result struct {
	Stdout, Stderr string
	Code           int
}

// enter are the arguments of nsenter(1) to run a command inside.
func (s *System) enter(command ...string) []string {
	return append([]string{fmt.Sprintf("--target=%d", s.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup"}, command...)
}

// Run runs a shell script inside, as root and in no unit.
func (s *System) Run(script string) (Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), runTimeout)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, "nsenter", s.enter("/bin/sh", "-ec", script)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Start()
	if err == nil {
		done := make(chan struct{})
		go goOn(cmd.Process.Pid, done)
		err = cmd.Wait()
		close(done)
	}
	r := Result{Stdout: stdout.String(), Stderr: stderr.String()}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return r, fmt.Errorf("run %q: it did not end within %s", script, runTimeout)
	case errors.As(err, &exit):
		r.Code = exit.ExitCode()
	case err != nil:
		return r, fmt.Errorf("run %q: %w", script, err)
	}
	return r, nil
}

// goOn wakes nsenter(1): it stops when its child is stopped, as systemd-shutdown stops all before it kills them, and
// would not be there to reap it.
func goOn(pid int, done <-chan struct{}) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
}

// Do runs a script that must succeed, and returns its output without the last line's end.
func (s *System) Do(script string) string {
	s.t.Helper()
	r, err := s.Run(script)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.Code != 0 {
		s.t.Fatalf("run %q: exit code %d:\n%s%s", script, r.Code, r.Stdout, r.Stderr)
	}
	return strings.TrimSuffix(r.Stdout, "\n")
}
