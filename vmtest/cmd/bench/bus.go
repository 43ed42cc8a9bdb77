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

// floorService lets the lab's service have its name and be called, and starts it.
const floorService = `cat > /etc/dbus-1/system.d/busfloor.conf <<'END'
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><policy user="root"><allow own="org.luod.Lab.BusFloor"/><allow send_destination="org.luod.Lab.BusFloor"/></policy></busconfig>
END
systemctl reload dbus
systemd-run -q --unit=busfloor /usr/lib/luod-lab/busfloor --serve
for i in $(seq 100); do busctl status org.luod.Lab.BusFloor >/dev/null 2>&1 && break; sleep 0.1; done
sleep 5`

// floor measures handing over 1,000 file descriptors with luod's client, against the
// same messages, as many of them unanswered, to a service that does nothing. Of each the
// fastest counts; in virtual time.
func floor(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	r, err := parts.StartWithPrograms(ctx, lab.Trixie, machine.Config{Name: "bench-bus", Kernel: parts.Older, VirtualTime: true}, "github.com/liveupdate/luod/vmtest/guest/busfloor")
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := r.Do(ctx, floorService); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "bench: handing over 1,000 file descriptors (1 min)")
	text, err := r.Do(ctx, "systemd-run -q --unit=handover --wait --pipe /usr/lib/luod-lab/busfloor")
	if err != nil {
		return err
	}
	fmt.Fprint(os.Stderr, text)
	took := map[string]float64{}
	for line := range strings.Lines(text) {
		way, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return fmt.Errorf("a measure is %q", line)
		}
		if took[way] == 0 || seconds < took[way] {
			took[way] = seconds
		}
	}
	if took["ours"] == 0 || took["bus"] == 0 {
		return fmt.Errorf("measures are missing: %q", text)
	}
	fmt.Printf("BENCH preserve-1000-fds-vs-bus-alone-seconds ours=%.3f baseline=%.3f ratio=%.2f goal=1.50\n", took["ours"], took["bus"], took["ours"]/took["bus"])
	return nil
}
