package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
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
		seconds, floor, err := away(ctx, r, parts, m.before, m.command)
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
			fmt.Printf("BENCH floor-%s-from-jump-to-pid1-vs-native-262-seconds ours=%.2f baseline=%.2f ratio=%.2f goal=%.2f\n", m.name, floor, baseline, floor/baseline, goal)
		}
		fmt.Printf("BENCH blackout-%s-vs-native-262-seconds ours=%.2f baseline=%.2f ratio=%.2f goal=%.2f\n", m.name, seconds, baseline, seconds/baseline, goal)
	}
	return nil
}

// triggered notes when the trigger was.
const triggered = "/usr/lib/luod-lab/store --tsc > /var/lib/trigger.tsc; echo '<2>bench: trigger' > /dev/kmsg; sync; "

// farewell has the old kernel say on the console when it jumps. A whole shutdown would
// say much more there, which takes its time.
const farewell = "dmesg -n 6; "

// away performs one update from the older kernel into the newer, as all that are
// compared do: each kernel jumps and boots in its own time. It returns how long it took,
// and of a fast one how much of that the kernels take for themselves: from the old one's
// farewell to PID 1.
func away(ctx context.Context, r *rig.Rig, parts *rig.Parts, before, command string) (seconds, floor float64, err error) {
	next := parts.Newer
	if _, err := r.Do(ctx, before); err != nil {
		return 0, 0, err
	}
	if r.Boot.Kernel == next.Release {
		if err := r.Update(ctx, parts.Older); err != nil {
			return 0, 0, err
		}
	}
	if err := r.Load(ctx, next); err != nil {
		return 0, 0, err
	}
	want, err := r.Do(ctx, "cat /run/store-c/state")
	if err != nil {
		return 0, 0, err
	}
	fast := strings.Contains(command, "--fast")
	script := triggered + command
	if fast {
		script = farewell + script
	}
	if err := r.Jump(ctx, next, script); err != nil {
		return 0, 0, err
	}
	console := r.ConsoleTail(200)
	text, err := r.Do(ctx, "for i in $(seq 600); do [ -s /run/store-c/state.tsc ] && break; sleep 0.1; done; cat /var/lib/trigger.tsc /run/store-c/state.tsc; echo $(/usr/lib/luod-lab/store --tsc) $(cut -d' ' -f1 /proc/uptime) $(systemctl show -P UserspaceTimestampMonotonic); cat /run/store-c/state")
	if err != nil {
		return 0, 0, err
	}
	lines := strings.SplitN(text, "\n", 4)
	if len(lines) != 4 || lines[3] != want {
		return 0, 0, fmt.Errorf("the service has %q, want %q", text, want)
	}
	begin, errB := strconv.ParseFloat(lines[0], 64)
	end, errE := strconv.ParseFloat(lines[1], 64)
	if errB != nil || errE != nil || end <= begin {
		return 0, 0, fmt.Errorf("the counters are %q", lines[:2])
	}
	if fast {
		if floor, err = fromJump(console, begin, lines[2]); err != nil {
			return 0, 0, err
		}
	}
	// What the time went to, for whoever wants to make it less.
	detail, err := r.Do(ctx, "luoctl blame 2>/dev/null || true; echo kernel to PID 1: $(systemctl show -P UserspaceTimestampMonotonic) µs, to store-c: $(systemctl show -P ActiveEnterTimestampMonotonic store-c) µs, to luod: $(systemctl show -P ExecMainStartTimestampMonotonic luod) µs; grep -c luod-restore.target /proc/cmdline || true")
	if err != nil {
		return 0, 0, err
	}
	fmt.Fprint(os.Stderr, detail)
	return (end - begin) / 1e9, floor, nil
}

// logged is a line of the kernel's log on the console, with its time in seconds.
var logged = regexp.MustCompile(`\[ *(\d+\.\d+)\] (bench: trigger|kexec_core: Starting new kernel)`)

// fromJump tells how long it was from the old kernel's farewell to PID 1. begin is the
// counter at the trigger, and now has the counter, the new kernel's clock (s), and when
// PID 1 began (µs of that clock).
func fromJump(console string, begin float64, now string) (float64, error) {
	at := map[string]float64{}
	for _, m := range logged.FindAllStringSubmatch(console, -1) {
		at[m[2]], _ = strconv.ParseFloat(m[1], 64)
	}
	var counter, clock, pid1 float64
	if n, err := fmt.Sscan(now, &counter, &clock, &pid1); n != 3 {
		return 0, fmt.Errorf("the new kernel's clock is %q: %w", now, err)
	}
	jump, known := at["kexec_core: Starting new kernel"]
	if !known || at["bench: trigger"] == 0 {
		return 0, fmt.Errorf("the console says nothing of the jump: %q", console)
	}
	return (counter-begin)/1e9 - clock - (jump - at["bench: trigger"]) + pid1/1e6, nil
}
