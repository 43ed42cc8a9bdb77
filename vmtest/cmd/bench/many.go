package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

// measurer runs luod/internal/measure as a service with an fd store, and luod not at
// all: both would have a session of the same name.
const measurer = `systemctl disable -q --now luod; systemctl mask -q luod
unit() { printf '[Service]\nType=oneshot\nNotifyAccess=main\nFileDescriptorStoreMax=100000\nLimitNOFILE=1048576\nStandardOutput=append:/var/lib/measure\nExecStart=/usr/lib/luod-lab/measure %s\n' "$2" > /etc/systemd/system/measure-$1.service; }
unit pack 'pack 7'
unit jump 'jump $KERNEL'; sed -i '2iEnvironmentFile=/etc/measure-kernel' /etc/systemd/system/measure-jump.service
unit restore 'restore $ORDER'; sed -i '2iEnvironmentFile=/etc/measure-order' /etc/systemd/system/measure-restore.service
systemctl daemon-reload`

// many measures packing and restoring 10,000 memfds of 100 units: all that the packer
// and the restorer do, with the fd store of PID 1, against the bare ioctls on as many
// memfds in the same boot, in virtual time: in real time a process that runs once mostly
// waits for the emulator to translate it. Of each the fastest counts, since what makes
// one slower is the machine around it.
func many(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Minute)
	defer cancel()
	r, err := parts.StartWithPrograms(ctx, lab.Trixie, machine.Config{Name: "bench-many", Kernel: parts.Older, MemoryMiB: 3 << 10, VirtualTime: true}, "github.com/liveupdate/luod/luod/internal/measure")
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Do(ctx, measurer); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: packing 10,000 memfds (1 min)")
	if _, err := r.Do(ctx, "systemctl start measure-pack || { journalctl -b -u measure-pack >&2; exit 1; }"); err != nil {
		return err
	}
	ways := []string{"ours", "one", "raw"}
	for i := range 4 {
		next := parts.Newer
		if r.Boot.Kernel == next.Release {
			next = parts.Older
		}
		fmt.Fprintln(os.Stderr, "bench: restoring 10,000 memfds (1 min)")
		if err := r.Jump(ctx, next, fmt.Sprintf("echo KERNEL=/boot/vmlinuz-%s > /etc/measure-kernel; systemctl start measure-jump; journalctl -b -u measure-jump >&2; exit 1", next.Release)); err != nil {
			return err
		}
		order := strings.Join(slices.Concat(ways[i%3:], ways[:i%3]), ",")
		// What starts with the machine has to come to rest first.
		if _, err := r.Do(ctx, fmt.Sprintf("sleep 5; echo ORDER=%s > /etc/measure-order; systemctl start measure-restore || { journalctl -b -u measure-restore >&2; exit 1; }", order)); err != nil {
			return err
		}
	}
	text, err := r.Do(ctx, "cat /var/lib/measure")
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, text)
	took := map[string]float64{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 3 {
			return fmt.Errorf("a measure is %q", line)
		}
		seconds, err := strconv.ParseFloat(f[2], 64)
		if err != nil {
			return fmt.Errorf("a measure is %q", line)
		}
		if key := f[0] + " " + f[1]; took[key] == 0 || seconds < took[key] {
			took[key] = seconds
		}
	}
	for _, half := range []string{"pack", "restore"} {
		ours := took[half+" ours"]
		for _, m := range []struct {
			name, baseline string
			goal           float64
		}{{"one-session", "one", 0.5}, {"bare-ioctls", "raw", 1.1}} {
			baseline := took[half+" "+m.baseline]
			if ours == 0 || baseline == 0 {
				return fmt.Errorf("measures are missing: %q", text)
			}
			fmt.Printf("BENCH %s-10000-memfds-vs-%s-seconds ours=%.3f baseline=%.3f ratio=%.2f goal=%.2f\n", half, m.name, ours, baseline, ours/baseline, m.goal)
		}
	}
	return nil
}
