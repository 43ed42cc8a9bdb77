package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/hooksdir"
)

// killDelay is between SIGTERM and SIGKILL, and how long a process that a hook
// left behind may keep its output open.
const killDelay = 5 * time.Second

// runner runs hooks.
type runner struct {
	phase, generation string
	// timeout is for one hook, and killDelay what it then gets to end.
	timeout, killDelay time.Duration
	stdout, stderr     io.Writer
}

// all runs what is to be run and returns what went wrong, one error for a hook;
// in prepare it stops at the first.
func (r runner) all(ctx context.Context, hooks []hooksdir.Hook) []error {
	var failures []error
	for _, h := range hooks {
		if why := h.Why(); why != "" {
			fmt.Fprintf(r.stderr, "luod-hooks: skip %s: %s\n", h.Path, why)
		}
		if h.Fate != hooksdir.Runs {
			continue
		}
		if ctx.Err() != nil {
			return append(failures, fmt.Errorf("hook %s: not run: %w", h.Name(), context.Cause(ctx)))
		}
		if err := r.one(ctx, h); err != nil {
			failures = append(failures, err)
			if r.phase == prepare {
				return failures
			}
		}
	}
	return failures
}

// one runs a hook to its end, and kills its process group if that doesn't come
// in time. Call it on a locked thread: Pdeathsig goes by the thread.
func (r runner) one(ctx context.Context, h hooksdir.Hook) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, fmt.Errorf("it did not end within %s", r.timeout))
	defer cancel()
	stdout, stderr := &prefixer{w: r.stdout, name: h.Name()}, &prefixer{w: r.stderr, name: h.Name()}
	cmd := exec.CommandContext(ctx, h.Path, r.phase, r.generation)
	cmd.Env = append(os.Environ(), "LUOD_PHASE="+r.phase, "LUOD_GENERATION="+r.generation)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var kill *time.Timer
	cmd.Cancel = func() error {
		kill = time.AfterFunc(r.killDelay, func() { _ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) })
		return unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
	}
	// Longer than what kill waits for, so that it is the whole group that dies.
	cmd.WaitDelay = r.killDelay + r.killDelay/5
	err := cmd.Run()
	if kill != nil && kill.Stop() {
		// The hook is gone in time, and who it left in its group is not asked twice.
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL)
	}
	stdout.finish()
	stderr.finish()
	if errors.Is(err, exec.ErrWaitDelay) && ctx.Err() == nil {
		fmt.Fprintf(r.stderr, "luod-hooks: hook %s ended and left a process behind that keeps its output open\n", h.Name())
		return nil
	}
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if last := stderr.lastLine(); last != "" {
		return fmt.Errorf("hook %s: %w: %s", h.Name(), err, last)
	}
	return fmt.Errorf("hook %s: %w", h.Name(), err)
}

// wallTimeout is how long the terminals may take.
const wallTimeout = 5 * time.Second

// wall shows text to everybody who is logged in.
func wall(ctx context.Context, program, text string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, wallTimeout, fmt.Errorf("it did not end within %s", wallTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdin = strings.NewReader(text + "\n")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return fmt.Errorf("tell everybody with %s: %w: %s", program, err, strings.TrimSpace(string(out)))
}
