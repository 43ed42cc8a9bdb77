// Command demo shows two live updates in a row, live: two services with memory,
// another kernel, and the same services with the same bytes. Its last line is
// for machines.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	line, err := run(ctx, os.Stdout)
	if err != nil {
		fmt.Printf("%v\nDEMO FAILED %s\n", err, strings.SplitN(err.Error(), "\n", 2)[0])
		stop()
		os.Exit(1)
	}
	fmt.Println(line)
}

// services are the ones in the demo: a Go service that uses D-Bus, and a Python
// service that knows only $LISTEN_FDS.
const services = `mkdir -p /etc/keeper
echo KEEPER_FILES=cache:8388608,index:65536:sealed,journal:4096:immutable > /etc/keeper/demo
systemctl enable -q --now keeper@demo.service plain.service`

func run(ctx context.Context, out io.Writer) (string, error) {
	say := func(format string, args ...any) { fmt.Fprintf(out, "\n=== "+format+"\n", args...) }
	say("The lab: two kernels, a Debian image, and luod's own package (20 minutes the first time)")
	parts, err := rig.Get()
	if err != nil {
		return "", err
	}
	say("A virtual machine boots Debian trixie on Linux %s", parts.Older.Release)
	r, err := parts.Start(ctx, lab.Trixie, machine.Config{Name: "demo", Kernel: parts.Older})
	if err != nil {
		return "", err
	}
	defer r.Close()
	if _, err := r.Do(ctx, services); err != nil {
		return "", err
	}
	before, err := r.Reports(ctx, 2)
	if err != nil {
		return "", err
	}
	say("Two services have memory: keeper@demo (Go, D-Bus) and plain (Python, only LISTEN_FDS)")
	show(out, before)
	if err := print(ctx, out, r, "uname -r; luoctl status; luoctl list"); err != nil {
		return "", err
	}
	kernels := []lab.Kernel{parts.Newer, parts.Older}
	files := 0
	for i, kernel := range kernels {
		say("Live update %d: %s to %s", i+1, r.Boot.Kernel, kernel.Release)
		if err := print(ctx, out, r, "luoctl load /boot/vmlinuz-"+kernel.Release); err != nil {
			return "", err
		}
		fmt.Fprintln(out, "$ luoctl live-update")
		began := time.Now()
		if err := r.Jump(ctx, kernel, "luoctl live-update"); err != nil {
			return "", err
		}
		fmt.Fprintf(out, "up again on %s after %.1f s\n", r.Boot.Kernel, time.Since(began).Seconds())
		after, err := r.Reports(ctx, 2)
		if err != nil {
			return "", err
		}
		show(out, after)
		if files, err = compare(before, after); err != nil {
			return "", err
		}
		if err := wait(ctx, r, uint64(i+1)); err != nil {
			return "", err
		}
		if err := print(ctx, out, r, "uname -r; luoctl status"); err != nil {
			return "", err
		}
		if err := blackout(ctx, out, r, after); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("DEMO OK generations=%d kernels=%s->%s services=%d fds=%d sha256=match",
		len(kernels), parts.Older.Release, parts.Newer.Release, len(before), files), nil
}

func print(ctx context.Context, out io.Writer, r *rig.Rig, script string) error {
	for _, command := range strings.Split(script, "; ") {
		text, err := r.Do(ctx, command)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "$ %s\n%s", command, text)
	}
	return nil
}

func show(out io.Writer, reports map[string]rig.Report) {
	for _, unit := range slices.Sorted(maps.Keys(reports)) {
		for _, name := range slices.Sorted(maps.Keys(reports[unit].Files)) {
			f := reports[unit].Files[name]
			fmt.Fprintf(out, "%-22s %-8s %9d bytes  sha256 %.16s…  (read on %s)\n", unit, name, f.Size, f.SHA256, reports[unit].Kernel)
		}
	}
}

func compare(before, after map[string]rig.Report) (files int, err error) {
	for unit, b := range before {
		a := after[unit]
		if a.Fresh {
			return 0, fmt.Errorf("%s began anew: its memory is lost", unit)
		}
		if len(a.Files) != len(b.Files) {
			return 0, fmt.Errorf("%s has %d files instead of %d", unit, len(a.Files), len(b.Files))
		}
		for name, f := range b.Files {
			files++
			if a.Files[name] != f {
				return 0, fmt.Errorf("%s: %s was %+v and is %+v", unit, name, f, a.Files[name])
			}
		}
	}
	return files, nil
}

// wait returns when luod says that the update is complete.
func wait(ctx context.Context, r *rig.Rig, generation uint64) error {
	for range 100 {
		s, err := r.Status(ctx)
		if err != nil {
			return err
		}
		if len(s.Lost) > 0 || s.Degraded != "" {
			return fmt.Errorf("luod reports a loss: %+v", s)
		}
		if s.Phase == "idle" && s.Generation == generation {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("luod does not say that the update is complete")
}

// blackout says when each service had its bytes again, after the trigger.
func blackout(ctx context.Context, out io.Writer, r *rig.Rig, after map[string]rig.Report) error {
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	for _, unit := range slices.Sorted(maps.Keys(after)) {
		fmt.Fprintf(out, "blackout of %-20s %.1f s from the trigger to its bytes read again\n", unit+":", float64(after[unit].ReadUsec-s.TimeLine[0].Usec)/1e6)
	}
	return nil
}
