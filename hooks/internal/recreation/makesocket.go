package recreation

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

// makeSocket makes a socket as s says, and has it listen at last, when nothing is
// missing any more.
func (h Host) makeSocket(s *recipe.Socket) (_ *os.File, err error) {
	// The threads of this process may be in the network namespace of the unit.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	back, err := h.enterNetwork()
	if err != nil {
		return nil, err
	}
	defer back()
	kind := s.Type | unix.SOCK_CLOEXEC
	if s.NonBlocking {
		kind |= unix.SOCK_NONBLOCK
	}
	fd, err := unix.Socket(s.Family, kind, s.Protocol)
	if err != nil {
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	for _, o := range recipe.Options {
		value, is := s.Options[o.Name]
		if !is {
			continue
		}
		if err := unix.SetsockoptInt(fd, o.Level, cmp.Or(o.Set, o.Number), value); err != nil {
			return nil, fmt.Errorf("set %s to %d: %w", o.Name, value, err)
		}
	}
	if s.Family == unix.AF_UNIX {
		err = h.bindUnix(fd, s)
	} else {
		err = bindInternet(fd, s)
	}
	if err != nil {
		return nil, err
	}
	if s.Listens() {
		if err := unix.Listen(fd, s.Backlog); err != nil {
			return nil, fmt.Errorf("listen: %w", err)
		}
	}
	return os.NewFile(uintptr(fd), s.String()), nil
}

// enterNetwork takes this thread to the network namespace of PID 1, and back.
func (h Host) enterNetwork() (back func(), err error) {
	var its, ours unix.Stat_t
	path := filepath.Join(h.Init, "ns/net")
	own := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
	if err := errors.Join(unix.Stat(path, &its), unix.Stat(own, &ours)); err != nil {
		return nil, fmt.Errorf("find the network namespace of PID 1: %w", err)
	}
	if its.Dev == ours.Dev && its.Ino == ours.Ino {
		return func() {}, nil
	}
	to, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("enter the network namespace of PID 1: %w", err)
	}
	defer unix.Close(to)
	from, err := unix.Open(own, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("enter the network namespace of PID 1: %w", err)
	}
	if err := unix.Setns(to, unix.CLONE_NEWNET); err != nil {
		unix.Close(from)
		return nil, fmt.Errorf("enter the network namespace of PID 1: %w", err)
	}
	return func() {
		if unix.Setns(from, unix.CLONE_NEWNET) != nil {
			runtime.LockOSThread() // once more than it is unlocked: the thread ends
		}
		unix.Close(from)
	}, nil
}

// bindInternet binds also to an address that is not there yet, as the socket would
// have outlived the address before; IP_FREEBIND is what it was afterwards.
func bindInternet(fd int, s *recipe.Socket) error {
	a, err := netip.ParseAddr(s.Address)
	if err != nil {
		return err
	}
	if s.Device != "" {
		if err := unix.BindToDevice(fd, s.Device); err != nil {
			return fmt.Errorf("bind it to the interface %s: %w", s.Device, err)
		}
	}
	var address unix.Sockaddr
	if a.Is4() {
		address = &unix.SockaddrInet4{Port: s.Port, Addr: a.As4()}
	} else {
		to := &unix.SockaddrInet6{Port: s.Port, Addr: a.As16()}
		if zone := a.Zone(); zone != "" {
			i, err := net.InterfaceByName(zone)
			if err != nil {
				return fmt.Errorf("find the interface of its address: %w", err)
			}
			to.ZoneId = uint32(i.Index)
		}
		address = to
	}
	free := s.Options["IP_FREEBIND"]
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, 1); err != nil {
		return fmt.Errorf("set IP_FREEBIND: %w", err)
	}
	if err := unix.Bind(fd, address); err != nil {
		return fmt.Errorf("bind it: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_FREEBIND, free); err != nil {
		return fmt.Errorf("set IP_FREEBIND to %d: %w", free, err)
	}
	return nil
}
