package peers

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// OfAccepted is Of for a socket that accept(2) returned at the time accepted on
// CLOCK_BOOTTIME (see Now). On a kernel without SO_PEERPIDFD it opens the PID that
// SO_PEERCRED tells, and refuses a process that began later than that or is another
// user's. What it can't see there is a process that took the PID over between connect
// and accept: use it only for sockets that root alone may connect to.
func OfAccepted(fd int, accepted time.Duration) (int, error) {
	pidfd, err := Of(fd)
	if errors.Is(err, ErrNotSupported) {
		return byCredentials(fd, accepted)
	}
	return pidfd, err
}

// Now is CLOCK_BOOTTIME, on which processes begin (proc_pid_stat(5)).
func Now() (time.Duration, error) {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	return time.Duration(now.Nano()), nil
}

func byCredentials(fd int, accepted time.Duration) (pidfd int, err error) {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return -1, fmt.Errorf("ask which process is behind a socket: %w", err)
	}
	if pidfd, err = unix.PidfdOpen(int(peer.Pid), 0); err != nil {
		return -1, fmt.Errorf("%w: open process %d: %w", ErrGone, peer.Pid, err)
	}
	defer func() {
		if err != nil {
			unix.Close(pidfd)
			pidfd = -1
		}
	}()
	began, uid, err := look(int(peer.Pid))
	switch {
	case err != nil:
		return pidfd, fmt.Errorf("%w: %w", ErrGone, err)
	case began > accepted:
		return pidfd, fmt.Errorf("%w: process %d is another one now, which began %s later", ErrGone, peer.Pid, began-accepted)
	case uid != peer.Uid:
		return pidfd, fmt.Errorf("%w: process %d is of user %d now and was of user %d", ErrGone, peer.Pid, uid, peer.Uid)
	}
	return pidfd, Alive(pidfd)
}

// Alive returns an error that wraps ErrGone unless the process behind pidfd still has
// its PID, so that what was found under that PID in between is its own.
func Alive(pidfd int) error {
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return nil
}

// tick is the unit of times in /proc/PID/stat: USER_HZ is 100 on every architecture that
// luod is built for (include/asm-generic/param.h).
const tick = 10 * time.Millisecond

// look reads when a process began, rounded down to a tick, and whose it is.
func look(pid int) (began time.Duration, uid uint32, err error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil {
		began, err = beginningIn(string(stat))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read when process %d began: %w", pid, err)
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil {
		uid, err = effectiveIn(string(status))
	}
	if err != nil {
		return 0, 0, fmt.Errorf("read whose process %d is: %w", pid, err)
	}
	return began, uid, nil
}

// beginningIn reads field 22 of proc_pid_stat(5). The second, the program's name, may
// have anything in it.
func beginningIn(stat string) (time.Duration, error) {
	rest := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(rest) < 20 {
		return 0, fmt.Errorf("it has %d fields after the name", len(rest))
	}
	ticks, err := strconv.ParseInt(rest[19], 10, 64)
	if err != nil {
		return 0, err
	}
	return time.Duration(ticks) * tick, nil
}

// effectiveIn reads the effective user of proc_pid_status(5), which is what SO_PEERCRED
// has (net/core/sock.c: cred_to_ucred).
func effectiveIn(status string) (uint32, error) {
	for line := range strings.Lines(status) {
		if rest, is := strings.CutPrefix(line, "Uid:"); is {
			if ids := strings.Fields(rest); len(ids) == 4 {
				uid, err := strconv.ParseUint(ids[1], 10, 32)
				return uint32(uid), err
			}
		}
	}
	return 0, errors.New("it has no line Uid")
}
