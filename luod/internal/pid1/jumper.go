package pid1

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/kexec"
)

// Jumper is the real thing; the zero value works.
type Jumper struct{}

// carriesStores is the first systemd that carries fd stores over a kexec itself
// (src/core/luo.c), sessions in luod's own store included.
const carriesStores = 261

// exitrd is where systemd-shutdown pivots to, if it is there; what then runs
// there kills everything of the old root (bootup(7)).
const exitrd = "/run/initramfs/shutdown"

// Check says why luod would not live until the jump.
func (Jumper) Check(ctx context.Context) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connect to PID 1: %w", err)
	}
	defer conn.Close()
	text, err := conn.GetManagerProperty("Version")
	if err != nil {
		return fmt.Errorf("ask PID 1 for its version: %w", err)
	}
	argv, err := os.ReadFile("/proc/self/cmdline")
	if err != nil {
		return fmt.Errorf("read luod's own command line: %w", err)
	}
	_, pivotErr := os.Stat(exitrd)
	return survives(text, string(argv), pivotErr == nil)
}

// survives decides. systemd-shutdown spares a process of root whose argv[0]
// begins with '@' (src/shutdown/…, killall.c: ignore_proc), unless it pivots.
func survives(version, argv string, pivots bool) error {
	if majorVersion(version) >= carriesStores {
		return nil
	}
	switch {
	case !strings.HasPrefix(argv, "@"):
		return errors.New("luod was not started as luod.service starts it (its argv[0] does not begin with '@'), so the shutdown would kill it before the jump and all memory with it; start it with 'systemctl start luod.service'")
	case pivots:
		return fmt.Errorf("%s exists, so the shutdown would pivot into the initrd and kill luod before the jump, and all memory with it; systemd %d or newer does not need luod there; else remove the file before the update", exitrd, carriesStores)
	}
	return nil
}

// majorVersion reads "257.13-1~deb13u1", with or without quotes.
func majorVersion(text string) int {
	text = strings.Trim(text, `"`)
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end >= 0 {
		text = text[:end]
	}
	n, _ := strconv.Atoi(text)
	return n
}

// Jump starts kexec.target.
func (Jumper) Jump(ctx context.Context) (<-chan string, error) { return kexec.Trigger(ctx) }

// Jumping says whether a job that ends this boot is queued or running.
func (Jumper) Jumping(ctx context.Context) (bool, error) {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return false, fmt.Errorf("connect to PID 1: %w", err)
	}
	defer conn.Close()
	jobs, err := conn.ListJobsContext(ctx)
	if err != nil {
		return false, fmt.Errorf("list PID 1's jobs: %w", err)
	}
	return slices.ContainsFunc(jobs, func(j dbus.JobStatus) bool {
		return j.JobType == "start" && (j.Unit == "kexec.target" || j.Unit == "systemd-kexec.service")
	}), nil
}
