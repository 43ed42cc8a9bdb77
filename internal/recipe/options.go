package recipe

import (
	"slices"

	"golang.org/x/sys/unix"
)

// Option is a socket option with an int for its value, which getsockopt(2) tells
// as setsockopt(2) takes it.
type Option struct {
	Name          string
	Level, Number int
	// Families and Types are those it is for; none are all.
	Families, Types []int
	// Buffer is the bit of SO_BUF_LOCK that says that the size of a buffer was set,
	// and is not the kernel's own; it is set again with Set, whatever the limit is.
	Buffer, Set int
}

// Own says whether the option has a value that somebody has set.
func (o Option) Own(fd int) bool {
	if o.Buffer == 0 {
		return true
	}
	locked, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BUF_LOCK)
	return err == nil && locked&o.Buffer != 0
}

// For says whether s can have it.
func (o Option) For(s *Socket) bool {
	return (len(o.Families) == 0 || slices.Contains(o.Families, s.Family)) && (len(o.Types) == 0 || slices.Contains(o.Types, s.Type))
}

var (
	internet = []int{unix.AF_INET, unix.AF_INET6}
	ipv6     = []int{unix.AF_INET6}
	local    = []int{unix.AF_UNIX}
	stream   = []int{unix.SOCK_STREAM}
	datagram = []int{unix.SOCK_DGRAM}
)

// Options are what a socket is bound with again, in this order: socket(7), ip(7),
// ipv6(7), tcp(7).
var Options = []Option{
	{Name: "SO_REUSEADDR", Level: unix.SOL_SOCKET, Number: unix.SO_REUSEADDR},
	{Name: "SO_REUSEPORT", Level: unix.SOL_SOCKET, Number: unix.SO_REUSEPORT, Families: internet},
	{Name: "SO_KEEPALIVE", Level: unix.SOL_SOCKET, Number: unix.SO_KEEPALIVE, Families: internet},
	{Name: "SO_BROADCAST", Level: unix.SOL_SOCKET, Number: unix.SO_BROADCAST, Families: internet, Types: datagram},
	{Name: "SO_PASSCRED", Level: unix.SOL_SOCKET, Number: unix.SO_PASSCRED, Families: local},
	{Name: "SO_PASSSEC", Level: unix.SOL_SOCKET, Number: unix.SO_PASSSEC, Families: local},
	{Name: "SO_TIMESTAMP", Level: unix.SOL_SOCKET, Number: unix.SO_TIMESTAMP, Types: datagram},
	{Name: "SO_MARK", Level: unix.SOL_SOCKET, Number: unix.SO_MARK, Families: internet},
	{Name: "SO_SNDBUF", Level: unix.SOL_SOCKET, Number: unix.SO_SNDBUF, Buffer: 1, Set: unix.SO_SNDBUFFORCE},
	{Name: "SO_RCVBUF", Level: unix.SOL_SOCKET, Number: unix.SO_RCVBUF, Buffer: 2, Set: unix.SO_RCVBUFFORCE},
	{Name: "IP_TOS", Level: unix.SOL_IP, Number: unix.IP_TOS, Families: internet},
	{Name: "SO_PRIORITY", Level: unix.SOL_SOCKET, Number: unix.SO_PRIORITY, Families: internet}, // IP_TOS sets it
	{Name: "IP_FREEBIND", Level: unix.SOL_IP, Number: unix.IP_FREEBIND, Families: internet},
	{Name: "IP_TRANSPARENT", Level: unix.SOL_IP, Number: unix.IP_TRANSPARENT, Families: internet},
	{Name: "IP_PKTINFO", Level: unix.SOL_IP, Number: unix.IP_PKTINFO, Families: internet, Types: datagram},
	{Name: "IPV6_V6ONLY", Level: unix.SOL_IPV6, Number: unix.IPV6_V6ONLY, Families: ipv6},
	{Name: "IPV6_TCLASS", Level: unix.SOL_IPV6, Number: unix.IPV6_TCLASS, Families: ipv6},
	{Name: "IPV6_RECVPKTINFO", Level: unix.SOL_IPV6, Number: unix.IPV6_RECVPKTINFO, Families: ipv6, Types: datagram},
	{Name: "TCP_NODELAY", Level: unix.SOL_TCP, Number: unix.TCP_NODELAY, Families: internet, Types: stream},
	{Name: "TCP_DEFER_ACCEPT", Level: unix.SOL_TCP, Number: unix.TCP_DEFER_ACCEPT, Families: internet, Types: stream},
	{Name: "TCP_KEEPIDLE", Level: unix.SOL_TCP, Number: unix.TCP_KEEPIDLE, Families: internet, Types: stream},
	{Name: "TCP_KEEPINTVL", Level: unix.SOL_TCP, Number: unix.TCP_KEEPINTVL, Families: internet, Types: stream},
	{Name: "TCP_KEEPCNT", Level: unix.SOL_TCP, Number: unix.TCP_KEEPCNT, Families: internet, Types: stream},
	{Name: "TCP_USER_TIMEOUT", Level: unix.SOL_TCP, Number: unix.TCP_USER_TIMEOUT, Families: internet, Types: stream},
	{Name: "TCP_FASTOPEN", Level: unix.SOL_TCP, Number: unix.TCP_FASTOPEN, Families: internet, Types: stream},
}
