package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killInShutdown kills a process when nobody is left to start it again: PID 1 has
// become systemd-shutdown. It says so on the console.
func killInShutdown(pid int) {
	for {
		// The kernel keeps 15 bytes (TASK_COMM_LEN).
		comm, err := os.ReadFile("/proc/1/comm")
		if err == nil && strings.HasPrefix(string(comm), "systemd-shutdow") {
			break
		}
		time.Sleep(time.Millisecond)
	}
	err := unix.Kill(pid, unix.SIGKILL)
	console, openErr := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	if openErr != nil {
		return
	}
	defer console.Close()
	fmt.Fprintf(console, "killed in the last second: %d: %v\n", pid, err)
}
