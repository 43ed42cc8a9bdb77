package memory

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Available is what there is, in bytes.
type Available struct {
	// Total is all memory, and Free what can be had without swapping (MemAvailable of
	// proc_meminfo(5)), which leaves out what the kernel keeps for itself
	// (vm.min_free_kbytes).
	Total, Free int64
	// Swapped is how much is swapped out now.
	Swapped int64
	// Groups are luod's own control group and those above it, that have a limit.
	Groups []Group
}

// Group is a control group that memory is charged to.
type Group struct {
	Name string
	// Limit is its memory.max, and Free what is left of that.
	Limit, Free int64
}

// Now reads what there is now.
func Now() (Available, error) { return read("/proc", "/sys/fs/cgroup") }

func read(proc, cgroup string) (Available, error) {
	var a Available
	info, err := os.ReadFile(filepath.Join(proc, "meminfo"))
	if err != nil {
		return a, fmt.Errorf("read how much memory there is: %w", err)
	}
	kib := keys(info)
	for _, key := range []string{"MemTotal:", "MemAvailable:"} {
		if _, is := kib[key]; !is {
			return a, fmt.Errorf("read how much memory there is: %s/meminfo has no %s", proc, strings.TrimSuffix(key, ":"))
		}
	}
	a.Total, a.Free = kib["MemTotal:"]<<10, kib["MemAvailable:"]<<10
	a.Swapped = (kib["SwapTotal:"] - kib["SwapFree:"]) << 10
	own, err := os.ReadFile(filepath.Join(proc, "self/cgroup"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return a, fmt.Errorf("read luod's control group: %w", err)
	}
	for _, line := range strings.Split(string(own), "\n") {
		path, unified := strings.CutPrefix(line, "0::")
		if !unified {
			continue // memory limits of cgroups(7) version 1 are none of systemd's any more
		}
		for path = filepath.Clean("/" + path); path != "/"; path = filepath.Dir(path) {
			if g, limited := readGroup(filepath.Join(cgroup, path)); limited {
				a.Groups = append(a.Groups, g)
			}
		}
	}
	return a, nil
}

// readGroup says what a group lets its members have, if it has a limit.
func readGroup(dir string) (Group, bool) {
	limit, err := number(filepath.Join(dir, "memory.max"))
	if err != nil { // "max", or the controller is not on
		return Group{}, false
	}
	current, err := number(filepath.Join(dir, "memory.current"))
	if err != nil {
		return Group{}, false
	}
	// The kernel drops what of files was not in use for long before it calls the group
	// full.
	stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
	return Group{Name: filepath.Base(dir), Limit: limit, Free: max(0, limit-max(0, current-keys(stat)["inactive_file"]))}, true
}

func number(path string) (int64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

// keys reads lines of a word and a number.
func keys(text []byte) map[string]int64 {
	all := map[string]int64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if words := strings.Fields(lines.Text()); len(words) >= 2 {
			if n, err := strconv.ParseInt(words[1], 10, 64); err == nil {
				all[words[0]] = n
			}
		}
	}
	return all
}

// What stays free for everybody else between the look and the jump, of which
// MemAvailable knows nothing: services that come to rest and write their state, the
// shutdown's helpers, and what is dirty. A twentieth of the machine, as much as
// vm.watermark_scale_factor may ask for at most, and never more than 1 GiB; a machine of
// less than 640 MiB has 32 MiB left.
const (
	reserveShare = 20
	reserveLeast = 32 << 20
	reserveMost  = 1 << 30
)

func (a Available) reserve() int64 {
	return min(max(a.Total/reserveShare, reserveLeast), reserveMost)
}

// usable is how much may be taken, and who sets that limit.
func (a Available) usable() (bytes int64, whose string) {
	bytes, whose = max(0, a.Free-a.reserve()), "in the whole system"
	for _, g := range a.Groups {
		if g.Free < bytes {
			bytes, whose = g.Free, "below the memory limit of "+g.Name
		}
	}
	return bytes, whose
}

// Room says why there are no bytes more, for who needs them now.
func (a Available) Room(bytes int64) error {
	if usable, whose := a.usable(); bytes > usable {
		return fmt.Errorf("%s are needed and %s are free %s", size(bytes), size(usable), whose)
	}
	return nil
}
