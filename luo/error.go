package luo

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

type op string

const (
	opOpen       op = "open " + DevicePath
	opCreate     op = "create session"
	opRetrieve   op = "retrieve session"
	opPreserveFD op = "preserve a file descriptor in session"
	opRetrieveFD op = "retrieve a file descriptor from session"
	opFinish     op = "finish session"
	opName       op = "ask the name of session"
)

// Error is what the kernel answered. errors.Is compares with Err, so
// errors.Is(err, unix.EBUSY) works.
type Error struct {
	// Op is what was attempted.
	Op string
	// Session is the session's name, if it has one yet.
	Session string
	// Token is that of a file. It means something only with HasToken, since 0 is
	// a token like any other.
	Token    uint64
	HasToken bool
	Err      syscall.Errno
}

func newError(o op, session string, err error) *Error {
	e := &Error{Op: string(o), Session: session}
	if !errors.As(err, &e.Err) {
		e.Err = syscall.EIO
	}
	return e
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Session != "" {
		fmt.Fprintf(&b, " %q", e.Session)
	}
	if e.HasToken {
		fmt.Fprintf(&b, " under token %d", e.Token)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	if why := meanings[op(e.Op)][e.Err]; why != "" {
		fmt.Fprintf(&b, " (%s)", why)
	} else if why := meanings[""][e.Err]; why != "" {
		fmt.Fprintf(&b, " (%s)", why)
	}
	return b.String()
}

// meanings says what an errno means here and what to do about it. Sources:
// kernel/liveupdate/luo_core.c, luo_session.c, luo_file.c and mm/memfd_luo.c;
// those under "" hold for every operation.
var meanings = map[op]map[syscall.Errno]string{
	"": {
		unix.EMFILE: "this process has too many open files; raise LimitNOFILE=",
		unix.ENFILE: "the system has too many open files; raise fs.file-max",
		unix.ENOMEM: "the kernel is out of memory",
		unix.ENOSPC: "the kernel has no room for more sessions, or for more files in this one",
		unix.E2BIG:  "the structure is of a newer version than this kernel knows",
		unix.ENOTTY: "this kernel does not have the operation",
	},
	opOpen: {
		unix.EBUSY:  "another process has the device open, and only one can; see 'fuser " + DevicePath + "'",
		unix.EIO:    "the kernel could not read what the previous one handed over, and will not try again in this boot; 'dmesg | grep -i luo' says why, and only a reboot helps",
		unix.EACCES: "only root may open it",
		unix.EPERM:  "the unit's DeviceAllow= forbids it",
	},
	opCreate: {
		unix.EEXIST: "an outgoing session of this name is open",
		unix.EINVAL: "the name is empty or too long",
	},
	opRetrieve: {
		unix.ENOENT: "the previous kernel handed over no session of this name",
		unix.EINVAL: "it was retrieved before in this boot",
	},
	opPreserveFD: {
		unix.EBADF:      "it is not an open file descriptor",
		unix.ENOENT:     "this kernel has no handler for its file type; memfds without MFD_HUGETLB are supported",
		unix.EEXIST:     "the session has this token already",
		unix.EBUSY:      "the file is already preserved in a session, or came through an update and its session is not finished",
		unix.EOPNOTSUPP: "the file has seals that this kernel can't preserve",
		unix.EFBIG:      "the file has more than 2^32-1 pages",
		unix.EINVAL:     "the session came from the previous kernel and takes no files",
	},
	opRetrieveFD: {
		unix.ENOENT: "the session has no such token",
		unix.EINVAL: "the session is one for the next kernel, or the kernel could not read the file",
		unix.EIO:    "the kernel could not restore the file's memory",
	},
	opFinish: {
		unix.EBUSY:  "a file of the session can't be finished yet",
		unix.EINVAL: "the session is one for the next kernel",
	},
}
