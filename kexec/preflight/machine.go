package preflight

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

func (j *job) memory() Result {
	if j.sources == nil {
		return j.unread()
	}
	initrds := uint64(0)
	for _, part := range j.sources.Initrds {
		initrds += uint64(part.Reader.Size())
	}
	// Read into a buffer each, and copied to where they will be.
	needed := uint64(j.sources.Kernel.Size()) + j.sources.Image.InitSize + 2*initrds
	free, err := j.available()
	switch {
	case err != nil:
		return Result{Verdict: Warn, Reason: err.Error(), Remedy: "mount /proc"}
	case free < needed:
		return Result{Verdict: Fail, Reason: fmt.Sprintf("loading needs %s, and %s are free", mebibytes(needed), mebibytes(free)), Remedy: "free memory, or take a smaller initrd"}
	}
	// With KHO everything that is loaded goes into the scratch areas
	// (kho_locate_mem_hole in kernel/kexec_file.c).
	placed := j.sources.Image.InitSize + initrds
	area, err := j.largestArea()
	switch {
	case err != nil:
		return Result{Verdict: Warn, Reason: fmt.Sprintf("%s are free and %s needed; the size of KHO's %s areas is unknown: %v", mebibytes(free), mebibytes(needed), area.name, err), Remedy: "loading the kernel tells: 'luoctl load'"}
	case area.size < max(j.sources.Image.InitSize, initrds):
		return Result{Verdict: Fail, Reason: fmt.Sprintf("kernel and initrd take %s, and KHO's largest %s area has %s", mebibytes(placed), area.name, mebibytes(area.size)), Remedy: fmt.Sprintf("boot with a larger kho_%s=, or take a smaller initrd", area.name)}
	}
	return Result{Verdict: OK, Reason: fmt.Sprintf("%s needed, %s free; KHO's largest %s area has %s", mebibytes(needed), mebibytes(free), area.name, mebibytes(area.size))}
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// available is MemAvailable of proc_meminfo(5), in bytes.
func (j *job) available() (uint64, error) {
	for line := range strings.Lines(j.text("proc/meminfo")) {
		if rest, ok := strings.CutPrefix(line, "MemAvailable:"); ok {
			n, err := strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 54)
			return n << 10, err
		}
	}
	return 0, fmt.Errorf("how much memory is free is unknown: /proc/meminfo doesn't tell")
}

// area is the largest of those into which the next kernel is loaded.
type area struct {
	// name is what the running kernel calls them, here and on its command line
	// (kho_scratch=; since Linux 7.4 kho_bootmem=).
	name string
	size uint64 // bytes
}

// areaNames are the names, the newest first.
var areaNames = []string{"bootmem", "scratch"}

// largestArea reads what CONFIG_KEXEC_HANDOVER_DEBUGFS shows
// (kernel/liveupdate/kexec_handover_debugfs.c).
func (j *job) largestArea() (area, error) {
	a := area{name: "scratch"}
	var text []byte
	var err error
	for _, a.name = range areaNames {
		if text, err = os.ReadFile(j.path("sys/kernel/debug/kho/out/" + a.name + "_len")); err == nil {
			break
		}
	}
	if err != nil {
		return a, err
	}
	for _, word := range strings.Fields(string(text)) {
		n, err := strconv.ParseUint(word, 0, 64)
		if err != nil {
			return a, fmt.Errorf("%s_len holds no number: %w", a.name, err)
		}
		a.size = max(a.size, n)
	}
	if a.size == 0 {
		return a, fmt.Errorf("%s_len holds no number", a.name)
	}
	return a, nil
}

// unitDirs are those that are there after a jump, strongest first
// (systemd.unit(5)); /run is not.
var unitDirs = []string{"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}

func (j *job) afterJump() Result {
	successor, program := j.Successor.Unit, j.Successor.Program
	name := strings.TrimSuffix(successor, ".service")
	unit, wanted := "", ""
	for _, dir := range unitDirs {
		if path := filepath.Join(dir, successor); unit == "" && j.lexists(path) {
			unit = path
		}
		if wants, _ := filepath.Glob(j.path(dir, "*.wants", successor)); wanted == "" && len(wants) > 0 {
			wanted = wants[0]
		}
	}
	switch target, _ := os.Readlink(j.path(unit)); {
	case unit == "":
		return Result{Verdict: Fail, Reason: successor + " is not installed where the next boot finds it", Remedy: "install " + name + " on the root file system"}
	case target == "/dev/null":
		return Result{Verdict: Fail, Reason: successor + " is masked", Remedy: "systemctl unmask " + successor}
	case wanted == "":
		return Result{Verdict: Fail, Reason: successor + " is not enabled, so nothing would take the memory back after the jump", Remedy: "systemctl enable " + successor}
	}
	lasting := map[uint64]bool{}
	for _, dir := range []string{"/", "/usr"} {
		if dev, err := j.fileSystem(dir); err == nil {
			lasting[dev] = true
		}
	}
	for _, path := range []string{unit, program} {
		dev, err := j.fileSystem(path)
		if err != nil {
			return Result{Verdict: Fail, Reason: fmt.Sprintf("%s can't be found: %v", path, err), Remedy: "install " + name + " again"}
		}
		if !lasting[dev] {
			return Result{Verdict: Fail, Reason: path + " lies neither on the root file system nor on that of /usr, and may be gone after the jump", Remedy: "install " + name + " on the root file system"}
		}
	}
	return Result{Verdict: OK, Reason: successor + " is enabled and on the root file system"}
}

func (s System) lexists(path string) bool {
	_, err := os.Lstat(s.path(path))
	return err == nil
}
