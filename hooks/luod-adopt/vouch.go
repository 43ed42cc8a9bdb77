package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/liveupdate/luod/internal/peers"
)

// vouch looks at the connections of a bus that doesn't tell luod enough of them.
func vouch(args []string) error {
	if len(args) != 2 {
		return errors.New("vouch for a process: --vouch takes the PIDs of the bus and of the process")
	}
	var pids [2]int
	for i, arg := range args {
		pid, err := strconv.ParseUint(arg, 10, 31)
		if err != nil || pid == 0 {
			return fmt.Errorf("vouch for a process: %q is no PID", arg)
		}
		pids[i] = int(pid)
	}
	return peers.Vouch(pids[0], pids[1])
}
