package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// maxDelay is what luod-reissue may add to a unit's start where there is nothing to
// restore, in ms.
const maxDelay = 50

// starts is how often each unit is started, after once that warms the page cache.
const starts = 20

// startUnits are two units that differ in what runs before their command.
const startUnits = `for u in "ours /usr/lib/luod/luod-reissue --optional" "baseline /usr/bin/true"; do
printf '[Unit]\nWants=luod.service\nAfter=luod.service\n[Service]\nType=oneshot\nRemainAfterExit=yes\nNotifyAccess=all\nFileDescriptorStoreMax=8\nExecStartPre=+%s\nExecStart=/usr/bin/true\n' "${u#* }" > /etc/systemd/system/start-${u%% *}.service
done; systemctl daemon-reload`

// start measures by how much luod-reissue delays a unit's start when there is nothing
// to restore: emulated, which is some 20 times slower than hardware, and in virtual
// time, where an instruction takes 2 ns. Only the latter has a goal.
func start(ctx context.Context, parts *rig.Parts) error {
	for _, m := range []struct {
		name    string
		virtual bool
	}{{"emulated", false}, {"virtual", true}} {
		if err := startDelay(ctx, parts, m.name, m.virtual); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

func startDelay(ctx context.Context, parts *rig.Parts, name string, virtual bool) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	fmt.Fprintf(os.Stderr, "bench: starting units, %s\n", name)
	r, err := parts.Start(ctx, lab.Trixie, machine.Config{Name: "bench-start", Kernel: parts.Older, VirtualTime: virtual})
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Do(ctx, startUnits); err != nil {
		return err
	}
	ours, err := untilMain(ctx, r, "start-ours")
	if err != nil {
		return err
	}
	baseline, err := untilMain(ctx, r, "start-baseline")
	if err != nil {
		return err
	}
	goal := ""
	if virtual {
		goal = " goal=1.00"
	}
	fmt.Printf("BENCH reissue-start-delay-%s-ms ours=%.2f baseline=%.2f ratio=%.2f%s\n", name, ours, baseline, (ours-baseline)/maxDelay, goal)
	return nil
}

// untilMain is the median time in ms, by PID 1's clock, from a unit's start to that of
// its main command.
func untilMain(ctx context.Context, r *rig.Rig, unit string) (float64, error) {
	text, err := r.Do(ctx, fmt.Sprintf(`for i in $(seq %d); do systemctl start %s
echo $(systemctl show -p InactiveExitTimestampMonotonic %[2]s) $(systemctl show -p ExecMainStartTimestampMonotonic %[2]s); systemctl stop %[2]s; done`, starts+1, unit))
	if err != nil {
		return 0, err
	}
	var took []float64
	for line := range strings.Lines(text) {
		begin, main, _ := strings.Cut(strings.TrimSpace(line), " ")
		b, errB := strconv.ParseFloat(strings.TrimPrefix(begin, "InactiveExitTimestampMonotonic="), 64)
		m, errM := strconv.ParseFloat(strings.TrimPrefix(main, "ExecMainStartTimestampMonotonic="), 64)
		if errB != nil || errM != nil || m <= b {
			return 0, fmt.Errorf("the times of %s are %q", unit, line)
		}
		took = append(took, (m-b)/1000)
	}
	if len(took) != starts+1 {
		return 0, fmt.Errorf("%d starts instead of %d: %q", len(took), starts+1, text)
	}
	return median(took[1:]), nil
}
