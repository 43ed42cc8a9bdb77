package peers

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Vouch returns nil if every connection that the process bus holds, and that a process
// of the number pid made, was made by the process that has this number now; there has
// to be one. So it is true of each of them, whichever the bus means when it gives a
// connection's PID, if that connection is there before and after.
//
// One that a process has left behind which is gone makes it an error as long as somebody
// holds its other end. It takes CAP_SYS_PTRACE, and a bus in this PID namespace.
func Vouch(bus, pid int) error {
	holder, err := unix.PidfdOpen(bus, 0)
	if err != nil {
		return fmt.Errorf("look at the connections of the bus: open process %d: %w", bus, err)
	}
	defer unix.Close(holder)
	dir := fmt.Sprintf("/proc/%d/fd", bus)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look at the connections of the bus: %w", err)
	}
	found := false
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// Only sockets are copied: the last close of something else may do something.
		if link, err := os.Readlink(filepath.Join(dir, e.Name())); err != nil || !strings.HasPrefix(link, "socket:") {
			continue
		}
		is, err := vouchOne(holder, number, pid)
		if err != nil {
			return fmt.Errorf("look at the connections of the bus, process %d: %w", bus, err)
		}
		found = found || is
	}
	if !found {
		return fmt.Errorf("look at the connections of the bus: process %d has none that process %d made", bus, pid)
	}
	return nil
}

// vouchOne says whether the file descriptor number of holder is a socket that a process
// called pid made, and returns an error if that is not the one called so now.
func vouchOne(holder, number, pid int) (bool, error) {
	fd, err := unix.PidfdGetfd(holder, number, 0) // close-on-exec (kernel/pid.c: pidfd_getfd)
	if err == unix.EBADF {
		return false, nil // closed meanwhile: a connection that is still there was not
	}
	if err != nil {
		return false, fmt.Errorf("copy its file descriptor %d: %w", number, err)
	}
	defer unix.Close(fd)
	if peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err != nil || int(peer.Pid) != pid {
		return false, nil // also what is no Unix socket
	}
	pidfd, err := Of(fd)
	if err == nil {
		defer unix.Close(pidfd)
		err = isNow(pidfd, pid)
	}
	if errors.Is(err, ErrGone) {
		return true, fmt.Errorf("an earlier process %d has left a connection behind that somebody else goes on with: %w", pid, err)
	}
	return true, err
}

// isNow returns nil if the process behind pidfd is there and called pid.
func isNow(pidfd, pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
	if err != nil {
		return fmt.Errorf("read a pidfd: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if value, is := strings.CutPrefix(line, "Pid:"); is {
			// -1 if it is gone (kernel/fork.c: pidfd_show_fdinfo).
			if strings.TrimSpace(value) == strconv.Itoa(pid) {
				return nil
			}
			return ErrGone
		}
	}
	return errors.New("read a pidfd: it shows no PID")
}
