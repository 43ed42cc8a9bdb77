package machine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// Result is how a script ended.
type Result struct {
	Code   int // the exit status, or 128 and the signal's number
	Stdout string
	Stderr string
}

// scriptPatience is for callers whose context has no deadline.
const scriptPatience = time.Minute

// Run runs a script with /bin/sh in the guest, as root. An exit status other than 0 is no error. The script is killed in
// the guest when ctx has its deadline, after a minute if it has none. A script that leads to a kexec may fail with
// [ErrNextBoot], see [Machine.Post].
func (m *Machine) Run(ctx context.Context, script string) (Result, error) {
	ctx, cancel := withDeadline(ctx, scriptPatience)
	defer cancel()
	what := fmt.Sprintf("run %q in the guest", script)
	deadline, _ := ctx.Deadline()
	id, replies, err := m.guest.ask(script, time.Until(deadline))
	if err != nil {
		return Result{}, m.failure(what, m.prefer(err))
	}
	// The guest's own deadline comes first if the guest is well, and its answer has the script's output so far.
	grace, cancel := context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(5*time.Second))
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel()
		}
	})
	defer stop()
	select {
	case r := <-replies:
		result := Result{r.answer.Code, r.answer.Stdout, r.answer.Stderr}
		switch {
		case r.err != nil:
			return result, m.failure(what, r.err)
		case r.answer.Error != "":
			return result, m.failure(what, fmt.Errorf("%s; stdout: %s; stderr: %s", r.answer.Error, result.Stdout, result.Stderr))
		}
		return result, nil
	case <-m.ended:
		return Result{}, m.failure(what, m.err)
	case <-grace.Done():
		m.guest.forget(id)
		return Result{}, m.failure(what, fmt.Errorf("no answer: %w", grace.Err()))
	}
}

// Post runs a script in the guest and does not wait for its answer: for one that leads to a kexec. It may take a minute.
func (m *Machine) Post(script string) error {
	id, _, err := m.guest.ask(script, scriptPatience)
	if err != nil {
		return m.failure(fmt.Sprintf("send %q to the guest", script), m.prefer(err))
	}
	m.guest.forget(id)
	return nil
}

// Sh runs a script in the guest and returns what it printed. The test fails if the script does, or any command in it
// that nothing looks at (set -e).
func (m *Machine) Sh(t testing.TB, script string) string {
	t.Helper()
	result, err := m.Run(t.Context(), "set -e\n"+script)
	if err != nil {
		t.Fatal(err)
	}
	if result.Code != 0 {
		t.Fatalf("%s: %q exited with status %d\nstdout: %s\nstderr: %s\nthe end of the console:\n%s",
			m.config.Name, script, result.Code, result.Stdout, result.Stderr, m.ConsoleTail(25))
	}
	return result.Stdout
}

// prefer gives the machine's end as the reason for what failed because of it.
func (m *Machine) prefer(err error) error {
	select {
	case <-m.ended:
		return m.err
	default:
		return err
	}
}
