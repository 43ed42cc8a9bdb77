package kexec

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Error is what the kernel answered; errors.Is compares with Err.
type Error struct {
	// Op is the system call, and Path the kernel image, if Op has one.
	Op   string
	Path string
	Err  syscall.Errno
}

// NewError makes an *Error of what op has answered of the image at path, which may be empty.
func NewError(op, path string, err error) *Error {
	e := &Error{Op: op, Path: path}
	if !errors.As(err, &e.Err) {
		e.Err = syscall.EIO
	}
	return e
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	text := e.Op
	if e.Path != "" {
		text += " " + e.Path
	}
	text = fmt.Sprintf("%s: %v", text, e.Err)
	if why := meanings[e.Err]; why != "" {
		text += " (" + why + ")"
	}
	return text
}

// meanings says what an errno of kexec_file_load(2) means and what to do. Source:
// kernel/kexec_file.c, kernel/kexec.c, arch/*/kernel/kexec-*.c.
var meanings = map[syscall.Errno]string{
	unix.EPERM:         "CAP_SYS_BOOT is missing, kernel.kexec_load_disabled is set, kernel.kexec_load_limit_reboot is used up, or kernel lockdown demands a signed image",
	unix.EBUSY:         "another process is loading a kernel, or a crash kernel's memory is locked; try again",
	unix.ENOEXEC:       "it is not an image that this kernel can boot",
	unix.EKEYREJECTED:  "its signature is by a key that this kernel does not trust",
	unix.ENODATA:       "it has no signature and this kernel demands one",
	unix.ENOPKG:        "its signature uses an algorithm that this kernel lacks",
	unix.EBADMSG:       "its signature does not fit its contents",
	unix.EADDRNOTAVAIL: "there is no contiguous memory to put it into",
	unix.ENOMEM:        "there is not enough memory to load it",
	unix.EINVAL:        "the command line is too long, or a flag is unknown to this kernel",
	unix.ENOSYS:        "this kernel was built without CONFIG_KEXEC_FILE",
}
