package recreation

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/hooks/internal/beneath"
	"github.com/liveupdate/luod/internal/recipe"
)

// siocgskns is SIOCGSKNS of linux/sockios.h: it opens a socket's network namespace.
const siocgskns = 0x894C

// describeSocket describes a socket that listens or is bound.
func (h Host) describeSocket(f *os.File) (*recipe.Socket, error) {
	fd := int(f.Fd())
	s := &recipe.Socket{}
	for _, o := range []struct {
		option int
		value  *int
	}{{unix.SO_DOMAIN, &s.Family}, {unix.SO_TYPE, &s.Type}, {unix.SO_PROTOCOL, &s.Protocol}} {
		var err error
		if *o.value, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, o.option); err != nil {
			return nil, fmt.Errorf("find out what socket it is: %w", err)
		}
	}
	switch s.Family {
	case unix.AF_UNIX:
		s.Protocol = 0 // socket(2) takes PF_UNIX for the same
	case unix.AF_INET, unix.AF_INET6:
	default:
		return nil, fmt.Errorf("it is a socket of family %d, and only unix and internet sockets are made anew", s.Family)
	}
	if err := h.sameNetwork(fd); err != nil {
		return nil, err
	}
	listens, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return nil, fmt.Errorf("find out whether it listens: %w", err)
	}
	if s.Listens() && listens == 0 {
		return nil, errors.New("it is a connected socket, or one that does not listen")
	}
	if _, err := unix.Getpeername(fd); err == nil {
		return nil, errors.New("it is a connected socket")
	}
	if err := plain(fd, s); err != nil {
		return nil, err
	}
	if s.Family == unix.AF_UNIX {
		err = h.unixAddress(fd, s)
	} else {
		err = internetAddress(fd, s)
	}
	if err != nil {
		return nil, err
	}
	if s.Listens() {
		s.Backlog = backlog(fd, s)
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return nil, fmt.Errorf("read its flags: %w", err)
	}
	s.NonBlocking = flags&unix.O_NONBLOCK != 0
	return s, readOptions(fd, s)
}

// plain refuses what a socket can have that can't be read from it whole, or makes
// it more than its address.
func plain(fd int, s *recipe.Socket) error {
	// SO_GET_FILTER is SO_ATTACH_FILTER, and tells the length of a classic filter
	// (socket(7)); it fails for one of eBPF.
	length := uint32(0)
	if _, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, 0, pointer(&length), 0); errno != 0 || length > 0 {
		return errors.New("it has a packet filter (SO_ATTACH_FILTER)")
	}
	if s.Type == unix.SOCK_STREAM && s.Family != unix.AF_UNIX {
		if ulp, err := unix.GetsockoptString(fd, unix.SOL_TCP, unix.TCP_ULP); err == nil && ulp != "" {
			return fmt.Errorf("it speaks %s (TCP_ULP)", ulp)
		}
	}
	return nil
}

// sameNetwork wants the socket in the network namespace of PID 1.
func (h Host) sameNetwork(fd int) error {
	ns, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), siocgskns, 0)
	if errno != 0 {
		return fmt.Errorf("find its network namespace: %w", errno)
	}
	defer unix.Close(int(ns))
	unix.CloseOnExec(int(ns))
	var its, ours unix.Stat_t
	if err := unix.Fstat(int(ns), &its); err != nil {
		return fmt.Errorf("find its network namespace: %w", err)
	}
	if err := unix.Stat(filepath.Join(h.Init, "ns/net"), &ours); err != nil {
		return fmt.Errorf("find the network namespace of PID 1: %w", err)
	}
	if its.Dev != ours.Dev || its.Ino != ours.Ino {
		return errors.New("it is in a network namespace of its own, which goes with the kernel")
	}
	return nil
}

func internetAddress(fd int, s *recipe.Socket) error {
	address, err := unix.Getsockname(fd)
	if err != nil {
		return fmt.Errorf("find its address: %w", err)
	}
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		s.Address, s.Port = netip.AddrFrom4(a.Addr).String(), a.Port
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr)
		if a.ZoneId != 0 {
			i, err := net.InterfaceByIndex(int(a.ZoneId))
			if err != nil {
				return fmt.Errorf("find the interface of its address: %w", err)
			}
			ip = ip.WithZone(i.Name)
		}
		s.Address, s.Port = ip.String(), a.Port
	}
	if s.Port == 0 {
		return errors.New("it is bound to no port")
	}
	if s.Device, err = unix.GetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err != nil {
		return fmt.Errorf("find the interface it is bound to: %w", err)
	}
	return nil
}

// unixAddress reads the address itself: package unix ends an abstract name at the
// first NUL.
func (h Host) unixAddress(fd int, s *recipe.Socket) error {
	name, err := sunPath(fd)
	switch {
	case err != nil:
		return fmt.Errorf("find its address: %w", err)
	case len(name) == 0:
		return errors.New("it is bound to no address")
	case name[0] == 0:
		s.Abstract = name[1:]
		return nil
	}
	s.Path = cString(name)
	place, base, err := beneath.OpenParent(filepath.Join(h.Init, "root"), s.Path)
	if err != nil {
		return fmt.Errorf("find its file %s: %w", s.Path, err)
	}
	defer place.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(place.Dir.Fd()), base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("find its file %s: %w", s.Path, err)
	}
	inode, device, asked := socketFile(fd)
	if st.Mode&unix.S_IFMT != unix.S_IFSOCK || asked && (st.Ino&0xffffffff != uint64(inode) || st.Dev != device) {
		return fmt.Errorf("at %s is another file", s.Path)
	}
	s.UID, s.GID, s.Mode = st.Uid, st.Gid, st.Mode&0o7777
	if !place.Fixed {
		return bindable(place, s)
	}
	return nil
}

// readOptions notes what a new socket of this kind has otherwise.
func readOptions(fd int, s *recipe.Socket) error {
	fresh, err := unix.Socket(s.Family, s.Type|unix.SOCK_CLOEXEC, s.Protocol)
	if err != nil {
		return fmt.Errorf("make a socket to compare with: %w", err)
	}
	defer unix.Close(fresh)
	for _, o := range recipe.Options {
		if !o.For(s) || !o.Own(fd) {
			continue
		}
		usual, err := unix.GetsockoptInt(fresh, o.Level, o.Number)
		if errors.Is(err, unix.ENOPROTOOPT) || errors.Is(err, unix.EOPNOTSUPP) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", o.Name, err)
		}
		value, err := unix.GetsockoptInt(fd, o.Level, o.Number)
		if err != nil {
			return fmt.Errorf("read %s: %w", o.Name, err)
		}
		if o.Buffer != 0 {
			value /= 2 // the kernel has doubled it (socket(7))
		}
		if value != usual {
			if s.Options == nil {
				s.Options = map[string]int{}
			}
			s.Options[o.Name] = value
		}
	}
	return nil
}
