package callers

import (
	"fmt"
	"strconv"
	"strings"
)

func pidInFdinfo(text string) (int, error) {
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(line, "Pid:")
		if !ok {
			continue
		}
		pid, err := strconv.Atoi(strings.TrimSpace(value))
		if err != nil || pid <= 0 {
			return 0, fmt.Errorf("%w: its pidfd shows PID %q", ErrNoUnit, strings.TrimSpace(value))
		}
		return pid, nil
	}
	return 0, fmt.Errorf("%w: its descriptor is no pidfd", ErrNoUnit)
}
