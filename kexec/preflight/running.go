package preflight

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/image"
	"github.com/liveupdate/luod/kexec/source"
)

// capSysBoot is CAP_SYS_BOOT of include/uapi/linux/capability.h.
const capSysBoot = 22

func (j *job) liveUpdateEnabled() Result {
	if info, err := os.Stat(j.path("dev/liveupdate")); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		return Result{Verdict: OK, Reason: "the running kernel has /dev/liveupdate"}
	}
	line := kexec.ParseCommandLine(j.text("proc/cmdline"))
	config := j.runningConfig()
	for _, option := range []string{"LIVEUPDATE", "KEXEC_HANDOVER"} {
		if config != nil && !config.Has(option) {
			return Result{Verdict: Fail, Reason: "the running kernel was built without CONFIG_" + option, Remedy: "boot a kernel with CONFIG_KEXEC_HANDOVER=y and CONFIG_LIVEUPDATE=y, once, the ordinary way"}
		}
	}
	reason := "the running kernel has no /dev/liveupdate"
	for _, name := range []string{"liveupdate", "kho"} {
		if v, ok := line.Value(name); !ok {
			reason += "; its command line has no " + name + "=on"
		} else if v != "on" && v != "1" && v != "y" {
			reason += "; its command line has " + name + "=" + v
		}
	}
	return Result{Verdict: Fail, Reason: reason, Remedy: "boot a kernel with CONFIG_LIVEUPDATE=y with kho=on liveupdate=on, once, the ordinary way"}
}

func (j *job) kexecAllowed() Result {
	if j.loaded() {
		// The documented use of both settings: load what shall boot, and then forbid it
		// (Documentation/admin-guide/sysctl/kernel.rst).
		return Result{Verdict: OK, Reason: "the kernel is loaded already"}
	}
	if n, err := strconv.Atoi(j.text("proc/sys/kernel/kexec_load_disabled")); err == nil && n != 0 {
		return Result{Verdict: Fail, Reason: "kernel.kexec_load_disabled is 1", Remedy: "it can't be taken back before a reboot; find what sets it in /etc/sysctl.d"}
	}
	if n, err := strconv.Atoi(j.text("proc/sys/kernel/kexec_load_limit_reboot")); err == nil && n == 0 {
		return Result{Verdict: Fail, Reason: "kernel.kexec_load_limit_reboot is used up", Remedy: "it can't be raised before a reboot; find what sets it in /etc/sysctl.d"}
	}
	if config := j.runningConfig(); config != nil && !config.Has("KEXEC_FILE") {
		return Result{Verdict: Fail, Reason: "the running kernel was built without CONFIG_KEXEC_FILE", Remedy: "boot a kernel that has it"}
	}
	for line := range strings.Lines(j.text("proc/self/status")) {
		if bits, ok := strings.CutPrefix(line, "CapEff:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(bits), 16, 64)
			if err == nil && n&(1<<capSysBoot) == 0 {
				return Result{Verdict: Fail, Reason: "this process has no CAP_SYS_BOOT", Remedy: "see what drop-ins the unit has that it runs in; in a container there can be no live update"}
			}
			if err == nil {
				return Result{Verdict: OK, Reason: "kernels may be loaded"}
			}
		}
	}
	return Result{Verdict: Warn, Reason: "the capabilities can't be read from /proc/self/status", Remedy: "mount /proc"}
}

// readRunningConfig reads the running kernel's configuration, or nil if nobody tells.
func (j *job) readRunningConfig() image.Config {
	f, err := os.Open(j.path("proc/config.gz"))
	if err == nil {
		defer f.Close()
		if z, err := gzip.NewReader(f); err == nil {
			if text, err := io.ReadAll(io.LimitReader(z, maxConfig)); err == nil {
				return image.ParseConfig(text)
			}
		}
	}
	config, _ := j.configOf(j.Release)
	return config
}

// maxConfig bounds a configuration, in bytes.
const maxConfig = 4 << 20

// configOf reads the configuration that a distribution installs beside a kernel.
func (s System) configOf(release string) (image.Config, string) {
	if release == "" || strings.Contains(release, "/") {
		return nil, ""
	}
	for _, path := range []string{"/usr/lib/modules/" + release + "/config", "/boot/config-" + release, "/lib/modules/" + release + "/config"} {
		info, err := os.Stat(s.path(path))
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfig {
			continue
		}
		if text, err := os.ReadFile(s.path(path)); err == nil {
			return image.ParseConfig(text), path
		}
	}
	return nil, ""
}

// readRunning finds the image of the running kernel and what is in it. A file of
// its name may hold another kernel by now, so it must have the running one's build
// ID, which nobody else's build has.
func (j *job) readRunning() (image.Facts, error) {
	notes, err := os.ReadFile(j.path("sys/kernel/notes"))
	if err != nil {
		return image.Facts{}, fmt.Errorf("read the running kernel's build ID: %w", err)
	}
	// What is to be booted is often what is running.
	if j.sources != nil {
		if facts, err := j.facts(); err == nil && isRunning(facts, notes) {
			return facts, nil
		}
	}
	candidates := []string{
		j.path("boot/vmlinuz-" + j.Release), j.path("usr/lib/modules", j.Release, "vmlinuz"),
		j.path("lib/modules", j.Release, "vmlinuz"), j.path("boot/Image-" + j.Release),
	}
	if j.RunningImages != nil {
		candidates = append(candidates, j.RunningImages()...)
	}
	for _, path := range candidates {
		sources, err := source.Open(kexec.Target{Kernel: path})
		if err != nil {
			continue
		}
		facts := image.Facts{}
		if sources.Image.Version == "" || sources.Image.Version == j.Release {
			facts, err = sources.Image.Facts()
		}
		sources.Close()
		if err == nil && isRunning(facts, notes) {
			return facts, nil
		}
	}
	return image.Facts{}, errors.New("no image of the running kernel was found (a file with its build ID)")
}

func isRunning(facts image.Facts, notes []byte) bool {
	return slices.ContainsFunc(facts.BuildIDs, func(id []byte) bool { return bytes.Contains(notes, id) })
}
