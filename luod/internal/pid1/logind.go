package pid1

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
)

// pollInterval is how often PID 1 is asked whether logind has begun.
const pollInterval = 100 * time.Millisecond

// jumpByLogind has logind shut down, which first tells those who delay a shutdown.
// The error wraps logind.ErrNone if nothing was begun for want of a logind.
func (j Jumper) jumpByLogind(ctx context.Context) (<-chan error, error) {
	if err := j.Logind.Reboot(ctx); err != nil {
		return nil, err
	}
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		ctx := context.WithoutCancel(ctx)
		if err := j.untilQueued(ctx); err != nil {
			problems <- err
			return
		}
		// It is the job that there is already. Whatever keeps this from waiting for it
		// doesn't stop the job.
		results, err := trigger(ctx)
		if err != nil {
			problems <- fmt.Errorf("%w: %w", ErrHungUp, err)
			return
		}
		problems <- refusedJob(results)
	}()
	return problems, nil
}

// untilQueued waits until PID 1 has the job, or logind has given it up.
func (j Jumper) untilQueued(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	givenUp := make(chan error, 1)
	go func() { givenUp <- j.Logind.GivenUp(ctx) }()
	for over := false; ; {
		queued, err := jobQueued(ctx)
		switch {
		case err == nil && queued:
			return nil
		case err == nil && over:
			return errors.New("logind gave the shutdown up")
		}
		// While PID 1 doesn't answer nobody knows. What logind has given up it has before
		// PID 1 is asked once more.
		select {
		case <-givenUp:
			over = true
		case <-time.After(pollInterval):
		}
	}
}

// jobQueued says whether a job that ends this boot is queued or running.
func jobQueued(ctx context.Context) (is bool, err error) {
	err = connected(ctx, func(conn *systemd.Conn) error {
		jobs, err := conn.ListJobsContext(ctx)
		if err != nil {
			return fmt.Errorf("list PID 1's jobs: %w", err)
		}
		is = slices.ContainsFunc(jobs, func(j systemd.JobStatus) bool {
			return j.JobType == "start" && slices.Contains([]string{"kexec.target", "systemd-kexec.service", jumpUnit}, j.Unit)
		})
		return nil
	})
	return is, err
}

// refusedJob waits for the result of the job of kexec.target.
func refusedJob(results <-chan string) error {
	result, ok := <-results
	switch {
	case !ok:
		return ErrHungUp
	case result == "done":
		return nil
	}
	return fmt.Errorf("the job of kexec.target ended as %q", result)
}
