package callers

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// IDs are a process's user IDs (credentials(7)).
type IDs struct{ Real, Effective, Saved, FileSystem uint32 }

// Users returns the user IDs of the process behind pidfd, which it borrows. The process is
// looked at again after they were read, so that they are its own and no later one's.
func Users(pidfd int) (IDs, error) {
	info := unix.PidfdInfo{Mask: unix.PIDFD_INFO_PID | unix.PIDFD_INFO_CREDS}
	if err := unix.IoctlPidfdInfo(pidfd, &info); err == nil && info.Mask&unix.PIDFD_INFO_CREDS != 0 {
		return IDs{info.Ruid, info.Euid, info.Suid, info.Fsuid}, nil
	}
	pid, err := pidOf(pidfd)
	if err != nil {
		return IDs{}, err
	}
	text, err := readShort(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return IDs{}, fmt.Errorf("read whose process %d is: %w", pid, err)
	}
	if err := unix.PidfdSendSignal(pidfd, 0, nil, 0); err != nil && err != unix.EPERM {
		return IDs{}, fmt.Errorf("read whose process %d is: it is gone: %w", pid, err)
	}
	return usersIn(text)
}

// usersIn reads the line Uid of proc_pid_status(5). A line before it may be the program's
// name, in which the kernel escapes what would end it.
func usersIn(status string) (ids IDs, err error) {
	for line := range strings.Lines(status) {
		rest, is := strings.CutPrefix(line, "Uid:")
		if !is {
			continue
		}
		if n, err := fmt.Sscan(rest, &ids.Real, &ids.Effective, &ids.Saved, &ids.FileSystem); n != 4 {
			return IDs{}, fmt.Errorf("read the user IDs %q: %w", strings.TrimSpace(rest), err)
		}
		return ids, nil
	}
	return IDs{}, errors.New("a process's status has no line Uid")
}
