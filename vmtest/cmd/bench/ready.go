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

// readyBound is how soon luod has to be ready, in ms from the moment when it is
// executed.
const readyBound = 50

// started prints, in µs, from PID 1's fork and from the execution of luod to
// READY=1. Before systemd 256 nobody notes the execution.
const started = `systemctl show -p ExecMainStartTimestampMonotonic -p ExecMainHandoffTimestampMonotonic -p ActiveEnterTimestampMonotonic luod | sort | cut -d= -f2 | xargs | awk '{print $1-$3, $1-$2}'`

// ready measures how soon luod is ready, in virtual time: the guest's clock counts
// its instructions, 2 ns for each, which is several times slower than a machine of
// today. After the update it starts before everything else, since there is an early
// service; else it would share the only CPU with the rest of the boot.
func ready(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Minute)
	defer cancel()
	fmt.Fprintln(os.Stderr, "bench: booting trixie in virtual time (2 min)")
	r, err := parts.Start(ctx, lab.Trixie, machine.Config{Name: "bench-ready", Kernel: parts.Older, VirtualTime: true})
	if err != nil {
		return err
	}
	defer r.Close()
	show := func(name, script string) error {
		text, err := r.Do(ctx, script)
		if err != nil {
			return err
		}
		var forked, executed []float64
		for line := range strings.Lines(text) {
			f := strings.Fields(line)
			if len(f) != 2 {
				return fmt.Errorf("%s: a measure is %q", name, line)
			}
			a, errA := strconv.ParseFloat(f[0], 64)
			b, errB := strconv.ParseFloat(f[1], 64)
			if errA != nil || errB != nil || a <= 0 || b <= 0 {
				return fmt.Errorf("%s: a measure is %q", name, line)
			}
			forked, executed = append(forked, a/1000), append(executed, b/1000)
		}
		ms := median(executed)
		fmt.Fprintf(os.Stderr, "bench: %s: with what systemd does in between, from the fork: %.1f ms\n", name, median(forked))
		fmt.Printf("BENCH luod-ready-%s-vs-bound-ms ours=%.1f baseline=%d ratio=%.2f goal=1.00\n", name, ms, readyBound, ms/readyBound)
		return nil
	}
	again := "for i in $(seq 5); do systemctl restart luod; sleep 1; " + started + "; done"
	if err := show("empty", "sleep 5; "+again); err != nil {
		return err
	}
	const services = 16
	if _, err := r.Do(ctx, fmt.Sprintf(`mkdir -p /etc/keeper; for i in $(seq %d); do echo KEEPER_FILES=a:4096,b:4096,c:4096,d:4096,e:4096,f:4096,g:4096,h:4096 > /etc/keeper/$i; systemctl enable -q --now keeper@$i; done; luoctl enable --early store-c; systemctl enable -q --now store-c; sleep 2`, services)); err != nil {
		return err
	}
	if err := show("holding-128-fds", again); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: an update in virtual time (3 min)")
	if err := r.Update(ctx, parts.Newer); err != nil {
		return err
	}
	return show("restoring-128-fds", started)
}
