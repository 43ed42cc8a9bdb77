package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// step is one long piece of work: it tells what it does, at least every 30 s, and keeps its commands' output in a log.
type step struct {
	what     string
	progress io.Writer
	began    time.Time
	log      *os.File
	stop     chan struct{}
	stopped  chan struct{}
}

// beginStep starts telling. The log's name is made from name, and an older log of that name is overwritten.
func beginStep(progress io.Writer, name, what string) (*step, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(cache, "log", name+".log")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("make the lab's log directory: %w", err)
	}
	log, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make a log: %w", err)
	}
	s := &step{what, progress, time.Now(), log, make(chan struct{}), make(chan struct{})}
	fmt.Fprintf(progress, "lab: %s (log: %s)\n", what, path)
	go s.tell()
	return s, nil
}

func (s *step) tell() {
	defer close(s.stopped)
	tick := time.NewTicker(20 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			fmt.Fprintf(s.progress, "lab: %s: %s so far; last: %s\n", s.what, s.elapsed(), lastLine(tail(s.log, 1)))
		}
	}
}

func (s *step) elapsed() time.Duration { return time.Since(s.began).Round(100 * time.Millisecond) }

// end says how the step went and returns *err with what the step was and, if a command failed, the end of the log.
func (s *step) end(err *error) {
	close(s.stop)
	<-s.stopped
	defer s.log.Close()
	if *err == nil {
		fmt.Fprintf(s.progress, "lab: %s: done in %s\n", s.what, s.elapsed())
		return
	}
	fmt.Fprintf(s.progress, "lab: %s: failed after %s\n", s.what, s.elapsed())
	var exit *exec.ExitError
	if errors.As(*err, &exit) {
		*err = fmt.Errorf("%s: %w; the end of %s:\n%s", s.what, *err, s.log.Name(), tail(s.log, 30))
		return
	}
	*err = fmt.Errorf("%s: %w", s.what, *err)
}

// run runs a command with its output in the step's log. The whole process group goes when ctx ends.
func (s *step) run(ctx context.Context, dir string, name string, args ...string) error {
	fmt.Fprintf(s.log, "+ %s %s\n", name, strings.Join(args, " "))
	cmd := command(ctx, name, args...)
	// What it mounts (debootstrap does) goes with it, even if it is killed, and the cache can be cleaned.
	cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = s.log, s.log
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("run %s: %w", strings.Join(append([]string{name}, firstArgs(args)...), " "), cause(ctx, err))
	}
	return nil
}

// output runs a quick command and returns what it prints.
func output(ctx context.Context, name string, args ...string) (string, error) {
	cmd := command(ctx, name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("run %s %s: %w: %s", name, strings.Join(firstArgs(args), " "), cause(ctx, err),
			strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "TZ=UTC")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// cause prefers the reason why a command was stopped to "signal: killed".
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// firstArgs keeps an error line short: commands of the lab can have hundreds of arguments.
func firstArgs(args []string) []string {
	if len(args) > 6 {
		return append(append([]string{}, args[:6]...), "…")
	}
	return args
}

// tail returns the last n lines of a file that may still grow.
func tail(f *os.File, n int) string {
	const most = 16 << 10
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-most)
	data, _ := io.ReadAll(io.NewSectionReader(f, from, most))
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

func lastLine(s string) string {
	if s = strings.TrimSpace(s); len(s) > 100 {
		s = "…" + s[len(s)-100:]
	}
	return s
}
