package pid1

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/kexec"
)

// trigger has PID 1 shut the system down and boot the loaded kernel, through
// kexec.target (systemd.special(7)) in the mode that systemctl kexec uses. It
// returns once the job is queued. The channel gets systemd's result of the job,
// at most once: "done" just before the jump, or "canceled", "failed", and so on;
// it is closed when PID 1 hangs up.
func trigger(ctx context.Context) (<-chan string, error) {
	switch is, err := kexec.Loaded(); {
	case err != nil:
		return nil, err
	case !is:
		return nil, errors.New("start kexec.target: no kernel is loaded")
	}
	// The private socket works without a bus; the connection lives until the
	// shutdown ends it.
	conn, err := dbus.NewSystemdConnectionContext(context.WithoutCancel(ctx))
	if err != nil {
		return nil, fmt.Errorf("start kexec.target: connect to PID 1: %w", err)
	}
	jobs := make(chan string, 1)
	if _, err := conn.StartUnitContext(ctx, "kexec.target", "replace-irreversibly", jobs); err != nil {
		conn.Close()
		return nil, fmt.Errorf("start kexec.target: %w", err)
	}
	results := make(chan string, 1)
	go func() {
		defer close(results)
		defer conn.Close()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case r := <-jobs:
				results <- r
				return
			case <-tick.C:
				if !conn.Connected() {
					return
				}
			}
		}
	}()
	return results, nil
}
