package sdnotify

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstFD is SD_LISTEN_FDS_START of sd_listen_fds(3).
const firstFD = 3

// Entry is one descriptor that came back from the fd store; whoever holds the
// Entry owns File.
type Entry struct {
	Name string
	File *os.File
}

// Listen takes over the descriptors that PID 1 passed to this process
// (sd_listen_fds(3)), sets O_CLOEXEC on them and unsets the variables. It
// returns nothing if they are meant for another process. Call it once, at the
// very start: a second call returns nothing.
func Listen() ([]Entry, error) {
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	os.Unsetenv("LISTEN_PID")
	os.Unsetenv("LISTEN_FDS")
	os.Unsetenv("LISTEN_FDNAMES")
	if fds == "" || pid != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return nil, fmt.Errorf("take over the passed file descriptors: LISTEN_FDS=%q is no count", fds)
	}
	var split []string
	if names != "" {
		split = strings.Split(names, ":")
	}
	entries := make([]Entry, 0, n)
	for i := range n {
		fd := firstFD + i
		unix.CloseOnExec(fd)
		name := "unknown"
		if i < len(split) {
			name = split[i]
		}
		entries = append(entries, Entry{Name: name, File: os.NewFile(uintptr(fd), name)})
	}
	return entries, nil
}
