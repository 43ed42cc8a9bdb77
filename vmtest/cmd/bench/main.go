// Command bench measures in a virtual machine what checking and loading a kernel
// costs, against kexec-tools and systemctl on the same image in the same run. Each
// measure is the median of several, and a line for machines:
//
//	BENCH name ours=V baseline=V ratio=R goal=G
//
// The other measures are how long an update takes a service's state away, against
// systemctl kexec with PID 1's own carrying; luod's peak memory while it carries
// 4 GiB; packing and restoring 10,000 memfds, against the bare ioctls; handing over
// 1,000 of them, against the bus alone; how soon luod is ready; and by how much
// luod-reissue delays a start when there is nothing to restore, where the ratio is that
// of the delay to what it may be. Arguments choose: kernels, blackout, large, many,
// bus, ready, start.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/liveupdate/luod/vmtest/machine"
	"github.com/liveupdate/luod/vmtest/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// rounds is how often each command runs; the first warms the page cache.
const rounds = 6

func run(ctx context.Context) error {
	parts, err := rig.Get()
	if err != nil {
		return err
	}
	which := os.Args[1:]
	for _, m := range []struct {
		name string
		run  func(context.Context, *rig.Parts) error
	}{{"kernels", kernels}, {"blackout", blackout}, {"large", large}, {"many", many}, {"bus", floor}, {"ready", ready}, {"start", start}} {
		if len(which) > 0 && !slices.Contains(which, m.name) {
			continue
		}
		if err := m.run(ctx, parts); err != nil {
			return err
		}
	}
	return nil
}

// kernels measures checking and loading.
func kernels(ctx context.Context, parts *rig.Parts) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	r, err := parts.StartWithBootEntries(ctx, machine.Config{Name: "bench", Kernel: parts.Older})
	if err != nil {
		return err
	}
	defer r.Close()
	b := bench{ctx, r}
	newer := "/boot/vmlinuz-" + parts.Newer.Release
	stock, err := r.Do(ctx, "ls /boot/vmlinuz-*cloud*")
	if err != nil {
		return err
	}
	stock = strings.TrimSpace(stock)
	// systemctl takes boot entries, and only from what it takes for an ESP.
	if _, err := r.Do(ctx, "rm -f /boot/EFI/Linux/*.efi; mount --bind /boot /boot"); err != nil {
		return err
	}
	ask := func(verb, kernel string) string {
		return fmt.Sprintf(`/usr/lib/luod/luod-kexec < /run/ask-%s`, b.request(verb, kernel))
	}
	for _, m := range []struct{ name, ours, baseline string }{
		{"check-vs-kexec-load", ask("check", newer), "kexec -s -l " + newer + " --reuse-cmdline"},
		{"check-stock-vs-kexec-load", ask("check", stock), "kexec -s -l " + stock + " --reuse-cmdline"},
		{"load-vs-kexec-load", ask("load", newer), "kexec -s -l " + newer + " --reuse-cmdline"},
		{"load-vs-systemctl-kexec", ask("load", "lab-newer.conf"), "env SYSTEMD_ESP_PATH=/boot SYSTEMD_RELAX_ESP_CHECKS=1 systemctl kexec --when=+1h"},
	} {
		ours, err := b.measure(m.ours)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		baseline, err := b.measure(m.baseline)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		fmt.Printf("BENCH %s-seconds ours=%.3f baseline=%.3f ratio=%.2f\n", m.name, ours.seconds, baseline.seconds, ours.seconds/baseline.seconds)
		fmt.Printf("BENCH %s-rss-kib ours=%.0f baseline=%.0f ratio=%.2f\n", m.name, ours.rss, baseline.rss, ours.rss/baseline.rss)
	}
	return nil
}

type bench struct {
	ctx context.Context
	*rig.Rig
}

// request writes what luod would ask luod-kexec, and returns the file's mark.
func (b bench) request(verb, entry string) string {
	mark := verb + strings.ReplaceAll(entry, "/", "-")
	// Beside the price of the checks their verdict does not matter here.
	script := fmt.Sprintf(`cat > /run/ask-%s <<'END'
{"verb":"%s","entry":"%s","generation":1}
END`, mark, verb, entry)
	if _, err := b.Do(b.ctx, script); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	return mark
}

type cost struct{ seconds, rss float64 }

// measure is the median time and the median peak memory of command.
func (b bench) measure(command string) (cost, error) {
	script := fmt.Sprintf(`for i in $(seq %d); do
command time -o /run/time -f '%%e %%M' %s > /run/out 2>&1 || { cat /run/out >&2; exit 1; }
cat /run/time; [ ! -e /run/systemd/shutdown/scheduled ] || shutdown -c; kexec -u 2>/dev/null; done`, rounds, command)
	text, err := b.Do(b.ctx, script)
	if err != nil {
		return cost{}, err
	}
	var seconds, rss []float64
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) != 2 {
			continue
		}
		s, errS := strconv.ParseFloat(f[0], 64)
		m, errM := strconv.ParseFloat(f[1], 64)
		if errS == nil && errM == nil {
			seconds, rss = append(seconds, s), append(rss, m)
		}
	}
	if len(seconds) != rounds {
		return cost{}, fmt.Errorf("%d measures instead of %d: %q", len(seconds), rounds, text)
	}
	return cost{median(seconds[1:]), median(rss[1:])}, nil
}

func median(v []float64) float64 {
	slices.Sort(v)
	return max(v[len(v)/2], 0.001)
}
