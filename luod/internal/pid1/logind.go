package pid1

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	systemd "github.com/coreos/go-systemd/v22/dbus"
	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/luod/internal/inhibitors"
)

const (
	login1     = "org.freedesktop.login1"
	login1Path = "/org/freedesktop/login1"
	manager1   = "org.freedesktop.login1.Manager"
	// viaKexec is SD_LOGIND_KEXEC_REBOOT (org.freedesktop.login1(5)).
	viaKexec = uint64(1) << 1
	// pollInterval is how often logind is asked whether it has begun, and
	// givenUpAfter how often in a row it must say that it does not even prepare.
	pollInterval = 100 * time.Millisecond
	givenUpAfter = 20
)

// errNoLogind says that there is no logind to be asked.
var errNoLogind = errors.New("there is no logind")

// jumpByLogind has logind shut down, which first tells those who delay a shutdown.
// The error wraps errNoLogind if nothing was begun for want of a logind.
func jumpByLogind(ctx context.Context) (<-chan error, error) {
	conn, err := dbus.ConnectSystemBus()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoLogind, err)
	}
	err = conn.Object(login1, login1Path).CallWithContext(ctx, manager1+".RebootWithFlags", 0, viaKexec).Err
	var refused dbus.Error
	switch {
	case inhibitors.NoLogind(err):
		conn.Close()
		return nil, fmt.Errorf("%w: %w", errNoLogind, err)
	case errors.As(err, &refused):
		conn.Close()
		return nil, fmt.Errorf("ask logind to shut down: %w", err)
	}
	// Without an answer it may have begun all the same, which what follows finds out.
	problems := make(chan error, 1)
	go func() {
		defer close(problems)
		defer conn.Close()
		ctx := context.WithoutCancel(ctx)
		if err := untilQueued(ctx, conn); err != nil {
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
func untilQueued(ctx context.Context, conn *dbus.Conn) error {
	for no := 0; no < givenUpAfter; no++ {
		queued, err := jobQueued(ctx)
		if err == nil && queued {
			return nil
		}
		if err != nil || preparing(ctx, conn) {
			no = -1
		}
		time.Sleep(pollInterval)
	}
	return errors.New("logind gave the shutdown up")
}

// preparing says whether logind is about to shut down, or can't say.
func preparing(ctx context.Context, conn *dbus.Conn) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var is dbus.Variant
	if err := conn.Object(login1, login1Path).CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, manager1, "PreparingForShutdown").Store(&is); err != nil {
		return false
	}
	yes, _ := is.Value().(bool)
	return yes
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
