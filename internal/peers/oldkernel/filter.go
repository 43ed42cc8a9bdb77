package oldkernel

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstLater is the first system call that Linux 6.1 hasn't: cachestat of 6.5, on every
// architecture.
const firstLater = 451

// later is what came to a system call that 6.1 has: it answers errno if its argument,
// ANDed with mask, is value, or anything but 0 if value is 0.
type later struct {
	call, argument, mask, value uint32
	errno                       unix.Errno
}

var all = []later{
	{unix.SYS_GETSOCKOPT, 2, ^uint32(0), unix.SO_PEERPIDFD, unix.ENOPROTOOPT},
	{unix.SYS_SETSOCKOPT, 2, ^uint32(0), unix.SO_PASSPIDFD, unix.ENOPROTOOPT},
	{unix.SYS_IOCTL, 1, 0xff00, 0xff00, unix.ENOTTY}, // those of pidfds (linux/pidfd.h)
	{unix.SYS_IOCTL, 1, 0xffff, 0x1500, unix.ENOTTY}, // FS_IOC_GETFSUUID
	{unix.SYS_MEMFD_CREATE, 1, unix.MFD_NOEXEC_SEAL | unix.MFD_EXEC, 0, unix.EINVAL},
}

// install puts the filter on all threads of this process.
func install() error {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		return fmt.Errorf("on %s it isn't known how", runtime.GOARCH)
	}
	program := assemble()
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	// TSYNC gives the other threads the filter and this flag.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter))); errno != 0 {
		return errno
	}
	return nil
}

// assemble makes the program, of struct seccomp_data (linux/seccomp.h): the number is at
// 0 and the arguments, of 8 bytes, from 16 on.
func assemble() []unix.SockFilter {
	const load, and, equal, atLeast, any, end = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_ALU | unix.BPF_AND | unix.BPF_K,
		unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	program := []unix.SockFilter{
		{Code: load},
		{Code: atLeast, K: firstLater, Jf: 1},
		{Code: end, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
	}
	for _, l := range all {
		is := unix.SockFilter{Code: equal, K: l.value, Jf: 1}
		if l.value == 0 {
			is = unix.SockFilter{Code: any, K: l.mask, Jf: 1}
		}
		program = append(program,
			unix.SockFilter{Code: load},
			unix.SockFilter{Code: equal, K: l.call, Jf: 4},
			unix.SockFilter{Code: load, K: 16 + 8*l.argument},
			unix.SockFilter{Code: and, K: l.mask},
			is,
			unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ERRNO | uint32(l.errno)},
		)
	}
	return append(program, unix.SockFilter{Code: end, K: unix.SECCOMP_RET_ALLOW})
}
