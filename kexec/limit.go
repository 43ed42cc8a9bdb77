package kexec

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
)

// limitPath says how many more times a kernel may be loaded, or -1 for any number
// (Documentation/admin-guide/sysctl/kernel.rst, Linux 6.3 and newer). Each call of
// kexec_load(2) and kexec_file_load(2) that isn't about a crash kernel takes one away,
// whether it loads, fails later or unloads (kexec_load_permitted in
// kernel/kexec_core.c), and it can only be lowered.
const limitPath = "/proc/sys/kernel/kexec_load_limit_reboot"

// plenty is what CountLoads allows.
const plenty = math.MaxInt32

// CountLoads makes this kernel count what is loaded, if it doesn't yet, and returns
// how many loads are left: as long as [LoadsLeft] says the same, nobody has loaded
// or unloaded anything. A limit that an admin has set is left as it is. The error is
// [os.ErrNotExist] where the kernel can't count.
func CountLoads() (int, error) { return countLoads(limitPath) }

// LoadsLeft returns how many loads are left, or -1 if they are not counted.
func LoadsLeft() (int, error) { return loadsLeft(limitPath) }

func countLoads(path string) (int, error) {
	left, err := loadsLeft(path)
	if err != nil || left >= 0 {
		return left, err
	}
	// Fails if somebody else has set a limit meanwhile, which will do as well.
	writeError := os.WriteFile(path, []byte(strconv.Itoa(plenty)), 0)
	left, err = loadsLeft(path)
	if err == nil && left < 0 {
		err = fmt.Errorf("make the kernel count what is loaded: %w", writeError)
	}
	return left, err
}

func loadsLeft(path string) (int, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("ask how many kernels were loaded: %w", err)
	}
	left, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0, fmt.Errorf("ask how many kernels were loaded: %s says %q", path, text)
	}
	return left, nil
}
