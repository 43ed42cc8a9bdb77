package machine

import (
	"context"
	"time"
)

// Boot is what the guest's agent says of a boot, once luod and the bus have had their chance to start.
type Boot struct {
	Kernel  string        // uname -r
	BootID  string        // the kernel's, another in each boot
	Systemd string        // its version, such as 257
	Uptime  time.Duration // the guest's, when it spoke
	At      time.Time     // when this was heard, on the host's clock
}

// bootPatience is for callers whose context has no deadline. Emulated, a boot takes some 10 s on a quiet machine.
const bootPatience = 4 * time.Minute

// WaitBoot returns the next boot that was not returned yet: first that after Start, then that after each kexec.
func (m *Machine) WaitBoot(ctx context.Context) (Boot, error) {
	ctx, cancel := withDeadline(ctx, bootPatience)
	defer cancel()
	const what = "wait for the guest to boot"
	select { // a boot that was heard of counts, though the machine has ended since
	case b := <-m.guest.boots:
		return b, nil
	default:
	}
	select {
	case b := <-m.guest.boots:
		return b, nil
	case <-m.ended:
		return Boot{}, m.failure(what, m.err)
	case <-ctx.Done():
		return Boot{}, m.failure(what, ctx.Err())
	}
}

// WaitEnd returns nil when the machine has reset or powered off.
func (m *Machine) WaitEnd(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx, bootPatience)
	defer cancel()
	select {
	case <-m.ended:
		return nil
	case <-ctx.Done():
		return m.failure("wait for the machine to end", ctx.Err())
	}
}

func withDeadline(ctx context.Context, patience time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, patience)
}
