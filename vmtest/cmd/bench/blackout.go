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

// bystanders are 30 more enabled services, as a machine in use has them.
const bystanders = `for i in $(seq 30); do printf '[Service]\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n' > /etc/systemd/system/bystander-$i.service; done
systemctl daemon-reload; systemctl enable -q --now store-c $(seq -f 'bystander-%g' 30)`

// native has PID 1 carry the store alone, and luod keep out of it.
const native = `mkdir -p /etc/systemd/system/store-c.service.d
printf '[Service]\nFileDescriptorStorePreserve=yes\n' > /etc/systemd/system/store-c.service.d/50-native.conf; systemctl daemon-reload`

// ours undoes that.
const ours = `rm -f /etc/systemd/system/store-c.service.d/50-native.conf; systemctl enable -q --now luod; luoctl enable --early store-c >/dev/null`

// blackout measures how long a service's state is away: from the trigger to the
// moment it has read its bytes again, in virtual time by the time stamp counter,
// which counts ns there and goes on over the kexec.
func blackout(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 60*time.Minute)
	defer cancel()
	type result struct {
		name, command, before string
		suite                 lab.Suite
	}
	var baseline float64
	machines := map[lab.Suite]*rig.Rig{}
	defer func() {
		for _, r := range machines {
			r.Close()
		}
	}()
	for _, m := range []result{
		{"native-262", "systemctl disable -q luod; systemctl kexec", native, lab.Sid},
		{"orderly-262", "luoctl live-update", ours, lab.Sid},
		{"fast-262", "luoctl live-update --fast", "true", lab.Sid},
		{"orderly-257", "luoctl live-update", ours, lab.Trixie},
		{"fast-257", "luoctl live-update --fast", "true", lab.Trixie},
	} {
		r := machines[m.suite]
		if r == nil {
			for suite, other := range machines { // one at a time
				other.Close()
				delete(machines, suite)
			}
			fmt.Fprintf(os.Stderr, "bench: booting %s in virtual time (2 min)\n", m.suite)
			var err error
			if r, err = parts.Start(ctx, m.suite, machine.Config{Name: "bench-" + string(m.suite), Kernel: parts.Older, VirtualTime: true, MemoryMiB: 1024}); err != nil {
				return err
			}
			machines[m.suite] = r
			if _, err := r.Do(ctx, bystanders); err != nil {
				return err
			}
		}
		fmt.Fprintf(os.Stderr, "bench: %s (2 min)\n", m.name)
		seconds, err := away(ctx, r, parts, m.before, m.command)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		if baseline == 0 {
			baseline = seconds
			continue
		}
		goal := 0.6
		if strings.HasPrefix(m.name, "fast") {
			goal = 0.4
		}
		fmt.Printf("BENCH blackout-%s-vs-native-262-seconds ours=%.2f baseline=%.2f ratio=%.2f goal=%.2f\n", m.name, seconds, baseline, seconds/baseline, goal)
	}
	return nil
}

// away performs one update from the older kernel into the newer, as all that are
// compared do, and returns how long it took: each kernel jumps and boots in its own time.
func away(ctx context.Context, r *rig.Rig, parts *rig.Parts, before, command string) (float64, error) {
	next := parts.Newer
	if _, err := r.Do(ctx, before); err != nil {
		return 0, err
	}
	if r.Boot.Kernel == next.Release {
		if err := r.Update(ctx, parts.Older); err != nil {
			return 0, err
		}
	}
	if err := r.Load(ctx, next); err != nil {
		return 0, err
	}
	want, err := r.Do(ctx, "cat /run/store-c/state")
	if err != nil {
		return 0, err
	}
	if err := r.Jump(ctx, next, "/usr/lib/luod-lab/store --tsc > /var/lib/trigger.tsc; sync; "+command); err != nil {
		return 0, err
	}
	text, err := r.Do(ctx, "for i in $(seq 600); do [ -s /run/store-c/state.tsc ] && break; sleep 0.1; done; cat /var/lib/trigger.tsc /run/store-c/state.tsc; cat /run/store-c/state")
	if err != nil {
		return 0, err
	}
	lines := strings.SplitN(text, "\n", 3)
	if len(lines) != 3 || lines[2] != want {
		return 0, fmt.Errorf("the service has %q, want %q", text, want)
	}
	begin, errB := strconv.ParseFloat(lines[0], 64)
	end, errE := strconv.ParseFloat(lines[1], 64)
	if errB != nil || errE != nil || end <= begin {
		return 0, fmt.Errorf("the counters are %q", lines[:2])
	}
	// What the time went to, for whoever wants to make it less.
	detail, err := r.Do(ctx, "luoctl blame 2>/dev/null || true; echo kernel to PID 1: $(systemctl show -P UserspaceTimestampMonotonic) µs, to store-c: $(systemctl show -P ActiveEnterTimestampMonotonic store-c) µs, to luod: $(systemctl show -P ExecMainStartTimestampMonotonic luod) µs; grep -c luod-restore.target /proc/cmdline || true")
	if err != nil {
		return 0, err
	}
	fmt.Fprint(os.Stderr, detail)
	return (end - begin) / 1e9, nil
}
