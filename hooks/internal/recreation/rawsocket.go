package recreation

import (
	"bytes"
	"encoding/binary"
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

func pointer(length *uint32) uintptr { return uintptr(unsafe.Pointer(length)) }

// sunPath is the address of a unix socket without its family, as long as the
// kernel says it is.
func sunPath(fd int) ([]byte, error) {
	var a unix.RawSockaddrUnix
	size := uint32(unsafe.Sizeof(a))
	if _, _, errno := unix.Syscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size))); errno != 0 {
		return nil, errno
	}
	head := unsafe.Offsetof(a.Path)
	n := int(size) - int(head)
	if n < 0 || n > len(a.Path)+1 { // the kernel counts a NUL that may have no room
		return nil, errors.New("the kernel returned an address of a strange length")
	}
	name := make([]byte, min(n, len(a.Path)))
	for i := range name {
		name[i] = byte(a.Path[i])
	}
	return name, nil
}

func cString(b []byte) string {
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	return string(b)
}

// backlog is what listen(2) was given, as far as the kernel tells, and else the
// most there is: it is capped by net.core.somaxconn again.
func backlog(fd int, s *recipe.Socket) int {
	n := 0
	if s.Family == unix.AF_UNIX {
		if d, err := askDiag(fd); err == nil {
			n = int(d.backlog)
		}
	} else if info, err := unix.GetsockoptTCPInfo(fd, unix.SOL_TCP, unix.TCP_INFO); err == nil {
		// Of a listener (net/ipv4/tcp.c: tcp_get_info).
		n = int(info.Sacked)
	}
	if n <= 0 {
		return unix.SOMAXCONN
	}
	return n
}

// socketFile returns the inode and the device of a bound unix socket's file, and
// whether the kernel has told (CONFIG_UNIX_DIAG).
func socketFile(fd int) (inode uint32, device uint64, asked bool) {
	d, err := askDiag(fd)
	return d.inode, d.device, err == nil && d.hasFile
}

// unixDiag is what sock_diag(7) tells of a unix socket.
type unixDiag struct {
	hasFile bool
	inode   uint32
	device  uint64
	backlog uint32
}

// Of linux/unix_diag.h.
const (
	udiagShowVFS = 0x02
	udiagShowRQ  = 0x10
	unixDiagVFS  = 1
	unixDiagRQ   = 4
)

// askDiag asks about the one socket that fd is of.
func askDiag(fd int) (unixDiag, error) {
	var d unixDiag
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return d, err
	}
	nl, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return d, err
	}
	defer unix.Close(nl)
	wait := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(nl, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	// struct nlmsghdr, struct unix_diag_req; no cookie is asked for.
	request := binary.NativeEndian.AppendUint32(nil, unix.SizeofNlMsghdr+24)
	request = binary.NativeEndian.AppendUint16(request, unix.SOCK_DIAG_BY_FAMILY)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST)
	request = binary.NativeEndian.AppendUint32(request, 1)
	request = binary.NativeEndian.AppendUint32(request, 0)
	request = append(request, unix.AF_UNIX, 0, 0, 0)
	request = binary.NativeEndian.AppendUint32(request, ^uint32(0))
	request = binary.NativeEndian.AppendUint32(request, uint32(st.Ino))
	request = binary.NativeEndian.AppendUint32(request, udiagShowVFS|udiagShowRQ)
	request = binary.NativeEndian.AppendUint64(request, ^uint64(0))
	if err := unix.Sendto(nl, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return d, err
	}
	answer := make([]byte, 8192)
	n, _, err := unix.Recvfrom(nl, answer, 0)
	if err != nil {
		return d, err
	}
	return parseDiag(answer[:n])
}

// errNoDiag says that the kernel's answer was none.
var errNoDiag = errors.New("sock_diag did not tell of the socket")

// parseDiag reads struct nlmsghdr, struct unix_diag_msg and its attributes.
func parseDiag(b []byte) (d unixDiag, err error) {
	const message = unix.SizeofNlMsghdr + 16
	if len(b) < message || binary.NativeEndian.Uint16(b[4:]) != unix.SOCK_DIAG_BY_FAMILY {
		return d, errNoDiag
	}
	for b = b[message:]; len(b) >= 4; {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return d, errNoDiag
		}
		value := b[4:size]
		switch binary.NativeEndian.Uint16(b[2:]) {
		case unixDiagVFS: // struct unix_diag_vfs
			if len(value) < 8 {
				return d, errNoDiag
			}
			device := binary.NativeEndian.Uint32(value[4:])
			// The kernel's own form of it: 12 bits and 20 (linux/kdev_t.h).
			d.hasFile, d.inode, d.device = true, binary.NativeEndian.Uint32(value), unix.Mkdev(device>>20, device&(1<<20-1))
		case unixDiagRQ: // struct unix_diag_rqlen
			if len(value) < 8 {
				return d, errNoDiag
			}
			d.backlog = binary.NativeEndian.Uint32(value[4:])
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return d, nil
}
