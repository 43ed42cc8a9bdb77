package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/liveupdate/luod/vmtest/guest/protocol"
)

// run runs a script in a process group of its own, which is killed when the time is up. What a script leaves behind in
// the background is not waited for, unless it keeps the script's output open; then for a second.
func run(request protocol.Request) protocol.Answer {
	answer := protocol.Answer{ID: request.ID}
	timeout := time.Duration(request.Timeout * float64(time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()

	var stdout, stderr capped
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", request.Script)
	cmd.Dir = "/root"
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root",
		"LC_ALL=C.UTF-8", "TERM=dumb", "SYSTEMD_PAGER=", "SYSTEMD_COLORS=0"}
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	err := cmd.Run()

	answer.Stdout, answer.Stderr = string(stdout.data), string(stderr.data)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		answer.Code, answer.Error = -1, fmt.Sprintf("the script did not end within %s", timeout)
	case err == nil || errors.Is(err, exec.ErrWaitDelay):
	case errors.As(err, &exit):
		answer.Code = exit.ExitCode()
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			answer.Code = 128 + int(status.Signal())
		}
	default:
		answer.Code, answer.Error = -1, err.Error()
	}
	return answer
}

// capped keeps the first [protocol.MaxOutput] bytes and swallows the rest.
type capped struct{ data []byte }

func (c *capped) Write(p []byte) (int, error) {
	room := max(0, protocol.MaxOutput-len(c.data))
	c.data = append(c.data, p[:min(len(p), room)]...)
	return len(p), nil
}
