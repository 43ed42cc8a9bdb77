package main

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/liveupdate/luod/luod/internal/pid1"
)

// vouchTimeout bounds it; it reads some hundred links.
const vouchTimeout = 15 * time.Second

// vouched numbers the units, since PID 1 may still have the last one.
var vouched atomic.Uint64

// vouch is peers.Vouch by a program that PID 1 runs: luod may not look at other
// processes.
func vouch(ctx context.Context, bus, pid uint32) error {
	return pid1.Units{}.Run(ctx, pid1.Program{
		Unit:        fmt.Sprintf("luod-vouch-%d.service", vouched.Add(1)),
		Description: fmt.Sprintf("Make Sure Which Process Is Behind a Connection to the Bus (PID %d)", pid),
		Argv:        []string{"/usr/lib/luod/luod-adopt", "--vouch", strconv.FormatUint(uint64(bus), 10), strconv.FormatUint(uint64(pid), 10)},
		Timeout:     vouchTimeout,
		AnyTime:     true,
	})
}
