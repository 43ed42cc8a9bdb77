// Package logind has luod-logind ask logind what luod wants to know of it: luod itself is
// on no bus. It bounds how long that takes and what may be said. Whatever becomes of the
// program, luod never takes what may have begun for something that has not.
package logind

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/liveupdate/luod/internal/logind"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/limited"
)

// Program is luod-logind as it is installed.
const Program = "/usr/lib/luod/luod-logind"

// ErrNone says that there is no logind to be asked, and nothing was begun.
var ErrNone = errors.New("there is no logind")

// Logind runs a luod-logind; the zero value runs Program.
type Logind struct{ Program string }

const (
	// timeout bounds a question, and rebootTimeout the wait for the beginning of a reboot.
	timeout, rebootTimeout = 40 * time.Second, 2 * time.Minute
	// maxAnswer bounds what is read, in bytes: logind has at most 8192 locks.
	maxAnswer = 8 << 20
)

// ask has verb answered. began says whether the program was: if not, nothing else was.
func (l Logind) ask(ctx context.Context, verb string) (answer logind.Answer, began bool, err error) {
	program := l.Program
	if program == "" {
		program = Program
	}
	out, problems := limited.Buffer{Left: maxAnswer}, limited.Buffer{Left: 4096}
	cmd := exec.CommandContext(ctx, program, verb)
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		return answer, false, fmt.Errorf("run luod-logind: %w", err)
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return answer, true, fmt.Errorf("luod-logind %s: %w: %s", verb, err, strings.TrimSpace(string(problems.Data)))
	}
	if err := json.Unmarshal(out.Data, &answer); err != nil {
		return answer, true, fmt.Errorf("read the answer of luod-logind %s: %w", verb, err)
	}
	return answer, true, nil
}

// Inhibitors returns logind's locks against a shutdown, in its order and with the mode
// that logind says; without a logind there are none.
func (l Logind) Inhibitors(ctx context.Context) ([]inhibitors.Inhibitor, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, _, err := l.ask(ctx, logind.Inhibitors)
	if err == nil && answer.Unclear != "" {
		err = errors.New(answer.Unclear)
	}
	if err != nil {
		return nil, fmt.Errorf("ask logind for its inhibitors: %w", err)
	}
	var list []inhibitors.Inhibitor
	for _, lock := range answer.Inhibitors {
		list = append(list, inhibitors.Inhibitor{What: lock.What, Who: lock.Who, Why: lock.Why, Mode: inhibitors.Mode(lock.Mode), UID: lock.UID, PID: lock.PID})
	}
	return list, nil
}

// Reboot has logind shut down into the loaded kernel, which first tells those who delay a
// shutdown. An error says that nothing was begun, and wraps ErrNone if that is for want of
// a logind. Without one it has begun, or may have.
func (l Logind) Reboot(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, rebootTimeout)
	defer cancel()
	answer, began, err := l.ask(ctx, logind.Reboot)
	switch {
	case !began:
		return fmt.Errorf("ask logind to shut down: %w", err)
	case err != nil:
		return nil // it may have asked before it died
	case answer.NoLogind != "":
		return fmt.Errorf("%w: %s", ErrNone, answer.NoLogind)
	case answer.Refused != "":
		return fmt.Errorf("ask logind to shut down: %s", answer.Refused)
	}
	return nil
}

// Preparing says whether logind is about to shut down; an error says that nobody knows.
func (l Logind) Preparing(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, _, err := l.ask(ctx, logind.Preparing)
	if err != nil {
		return false, fmt.Errorf("ask logind whether it shuts down: %w", err)
	}
	return answer.Preparing, nil
}

// GivenUp waits until logind has said for a while that it isn't about to shut down, and
// returns nil then. It begins anew if the program is killed, until ctx ends.
func (l Logind) GivenUp(ctx context.Context) error {
	for {
		_, _, err := l.ask(ctx, logind.Watch)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}
