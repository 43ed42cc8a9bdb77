package recreation

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/recipe"
)

// bound makes a socket, bound to address, and listening unless it is for datagrams.
func bound(t *testing.T, family, kind, backlog int, address unix.Sockaddr, set ...func(fd int) error) *os.File {
	t.Helper()
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	t.Cleanup(func() { f.Close() })
	for _, s := range set {
		if err := s(fd); err != nil {
			t.Fatal(err)
		}
	}
	if address != nil {
		if err := unix.Bind(fd, address); err != nil {
			t.Fatal(err)
		}
	}
	if backlog > 0 {
		if err := unix.Listen(fd, backlog); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func option(level, number, value int) func(fd int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, level, number, value) }
}

// described skips the test where the kernel doesn't tell of network namespaces.
func described(t *testing.T, f *os.File) recipe.Recipe {
	t.Helper()
	before := openFDs(t)
	d, err := here.Describe(f)
	if errors.Is(err, unix.EPERM) {
		t.Skipf("needs CAP_NET_ADMIN: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if after := openFDs(t); after != before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
	return d
}

var loopback4, loopback6 = &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}

func TestSocketsAreMadeAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	for name, c := range map[string]struct {
		family, kind, backlog int
		address               unix.Sockaddr
		set                   []func(fd int) error
		options               map[string]int
	}{
		"TCP": {unix.AF_INET, unix.SOCK_STREAM, 7, loopback4, []func(int) error{option(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)}, map[string]int{"SO_REUSEADDR": 1}},
		"TCP with options": {unix.AF_INET, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, 100, loopback4, []func(int) error{
			option(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), option(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1), option(unix.SOL_IP, unix.IP_FREEBIND, 1),
			option(unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 3), option(unix.SOL_TCP, unix.TCP_NODELAY, 1), option(unix.SOL_IP, unix.IP_TOS, 0x10), option(unix.SOL_SOCKET, unix.SO_RCVBUF, 9999),
		}, map[string]int{"SO_REUSEPORT": 1, "SO_KEEPALIVE": 1, "IP_FREEBIND": 1, "TCP_DEFER_ACCEPT": 3, "TCP_NODELAY": 1, "IP_TOS": 0x10, "SO_PRIORITY": 6, "SO_RCVBUF": 9999}},
		"TCP over IPv6":  {unix.AF_INET6, unix.SOCK_STREAM, 5, loopback6, []func(int) error{option(unix.SOL_IPV6, unix.IPV6_V6ONLY, 1)}, map[string]int{"IPV6_V6ONLY": 1}},
		"everywhere":     {unix.AF_INET6, unix.SOCK_STREAM, 5, &unix.SockaddrInet6{}, nil, nil},
		"UDP":            {unix.AF_INET, unix.SOCK_DGRAM, 0, loopback4, []func(int) error{option(unix.SOL_SOCKET, unix.SO_BROADCAST, 1), option(unix.SOL_IP, unix.IP_PKTINFO, 1)}, map[string]int{"SO_BROADCAST": 1, "IP_PKTINFO": 1}},
		"a device":       {unix.AF_INET, unix.SOCK_STREAM, 5, loopback4, []func(int) error{func(fd int) error { return unix.BindToDevice(fd, "lo") }}, nil},
		"unix":           {unix.AF_UNIX, unix.SOCK_STREAM, 9, &unix.SockaddrUnix{Name: path}, nil, nil},
		"unix seqpacket": {unix.AF_UNIX, unix.SOCK_SEQPACKET, 9, &unix.SockaddrUnix{Name: path}, []func(int) error{option(unix.SOL_SOCKET, unix.SO_PASSCRED, 1)}, map[string]int{"SO_PASSCRED": 1}},
		"unix datagrams": {unix.AF_UNIX, unix.SOCK_DGRAM, 0, &unix.SockaddrUnix{Name: path}, nil, nil},
		"abstract":       {unix.AF_UNIX, unix.SOCK_STREAM | unix.SOCK_NONBLOCK, 9, &unix.SockaddrUnix{Name: fmt.Sprintf("@luod\x00test-%d\x00", os.Getpid())}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := bound(t, c.family, c.kind, c.backlog, c.address, c.set...)
			_ = os.Chmod(path, 0o640)
			d := described(t, f)
			if !reflect.DeepEqual(d.Socket.Options, c.options) {
				t.Errorf("the options are %v and not %v", d.Socket.Options, c.options)
			}
			if d.Socket.Backlog != c.backlog && !(c.family == unix.AF_UNIX && d.Socket.Backlog == unix.SOMAXCONN) {
				t.Errorf("the backlog is %d and not %d", d.Socket.Backlog, c.backlog)
			}
			f.Close() // its file stays, as that of a socket that died with its kernel
			before := openFDs(t)
			again, err := here.Make(d)
			if err != nil {
				t.Fatal(err)
			}
			now := described(t, again)
			if !reflect.DeepEqual(now, d) {
				t.Errorf("it is %+v, and it was %+v", now.Socket, d.Socket)
			}
			if cloexec, err := unix.FcntlInt(again.Fd(), unix.F_GETFD, 0); err != nil || cloexec != unix.FD_CLOEXEC {
				t.Errorf("it is not closed on exec: %d, %v", cloexec, err)
			}
			converse(t, again, d.Socket)
			// The address is taken now, whoever asks, unless the socket shares it.
			if _, shares := d.Socket.Options["SO_REUSEPORT"]; !shares {
				if other, err := here.Make(d); err == nil {
					other.Close()
					t.Error("it was made twice")
				}
			}
			again.Close()
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
			os.Remove(path)
		})
	}
}

// converse says something to the socket and hears it there.
func converse(t *testing.T, f *os.File, s *recipe.Socket) {
	t.Helper()
	network := map[int]string{unix.SOCK_STREAM: "tcp", unix.SOCK_DGRAM: "udp"}[s.Type]
	address := net.JoinHostPort(s.Address, fmt.Sprint(s.Port))
	if s.Family == unix.AF_UNIX {
		network = map[int]string{unix.SOCK_STREAM: "unix", unix.SOCK_DGRAM: "unixgram", unix.SOCK_SEQPACKET: "unixpacket"}[s.Type]
		if address = s.Path; address == "" {
			address = "@" + string(s.Abstract)
		}
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 10)
	n := 0
	if s.Listens() {
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		peer.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, err = peer.Read(text)
		if err != nil {
			t.Fatal(err)
		}
	} else if n, err = unix.Read(int(f.Fd()), text); err != nil {
		t.Fatal(err)
	}
	if string(text[:n]) != "hello" {
		t.Errorf("it hears %q", text[:n])
	}
}

func TestSocketsThatAreNotDescribed(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		open func(t *testing.T) *os.File
		why  string
	}{
		"not listening": {func(t *testing.T) *os.File { return bound(t, unix.AF_INET, unix.SOCK_STREAM, 0, loopback4) }, "does not listen"},
		"connected": {func(t *testing.T) *os.File {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			f, err := conn.(*net.TCPConn).File()
			if err != nil {
				t.Fatal(err)
			}
			return f
		}, "connected"},
		"connected datagrams": {func(t *testing.T) *os.File {
			f := bound(t, unix.AF_INET, unix.SOCK_DGRAM, 0, loopback4)
			if err := unix.Connect(int(f.Fd()), &unix.SockaddrInet4{Port: 9, Addr: loopback4.Addr}); err != nil {
				t.Fatal(err)
			}
			return f
		}, "connected"},
		"a pair": {func(t *testing.T) *os.File {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			unix.Close(fds[1])
			return os.NewFile(uintptr(fds[0]), "pair")
		}, "connected"},
		"unbound datagrams":      {func(t *testing.T) *os.File { return bound(t, unix.AF_INET, unix.SOCK_DGRAM, 0, nil) }, "bound to no port"},
		"unbound unix datagrams": {func(t *testing.T) *os.File { return bound(t, unix.AF_UNIX, unix.SOCK_DGRAM, 0, nil) }, "bound to no address"},
		"netlink":                {func(t *testing.T) *os.File { return bound(t, unix.AF_NETLINK, unix.SOCK_DGRAM, 0, nil) }, "only unix and internet"},
		"filtered": {func(t *testing.T) *os.File {
			return bound(t, unix.AF_INET, unix.SOCK_STREAM, 5, loopback4, func(fd int) error {
				all := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: 0xffff}
				return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &all})
			})
		}, "packet filter"},
		"its file is gone": {func(t *testing.T) *os.File {
			f := bound(t, unix.AF_UNIX, unix.SOCK_STREAM, 5, &unix.SockaddrUnix{Name: filepath.Join(dir, "gone")})
			os.Remove(filepath.Join(dir, "gone"))
			return f
		}, "find its file"},
		"its file is another": {func(t *testing.T) *os.File {
			f := bound(t, unix.AF_UNIX, unix.SOCK_STREAM, 5, &unix.SockaddrUnix{Name: filepath.Join(dir, "other")})
			os.Remove(filepath.Join(dir, "other"))
			if err := os.WriteFile(filepath.Join(dir, "other"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return f
		}, "another file"},
		"its file is another's": {func(t *testing.T) *os.File {
			path := filepath.Join(dir, "anothers")
			f := bound(t, unix.AF_UNIX, unix.SOCK_STREAM, 5, &unix.SockaddrUnix{Name: path})
			if _, _, asked := socketFile(int(f.Fd())); !asked {
				t.Skip("this kernel has no CONFIG_UNIX_DIAG; those of the virtual machines do, see TestFilesAndSocketsAreMadeAnew")
			}
			os.Remove(path)
			bound(t, unix.AF_UNIX, unix.SOCK_STREAM, 5, &unix.SockaddrUnix{Name: path})
			return f
		}, "another file"},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.open(t)
			defer f.Close()
			before := openFDs(t)
			d, err := here.Describe(f)
			if errors.Is(err, unix.EPERM) {
				t.Skipf("needs CAP_NET_ADMIN: %v", err)
			}
			if err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%+v, %v", d.Socket, err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
		})
	}
}

// A path that another has is left to it.
func TestWhatIsAtASocketsPath(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "s")
	d := recipe.Recipe{Socket: &recipe.Socket{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Path: path, Mode: 0o600, UID: uint32(os.Getuid()), GID: uint32(os.Getgid()), Backlog: 5}}
	for name, c := range map[string]struct {
		put func() (io.Closer, error)
		why string
	}{
		"a file":            {func() (io.Closer, error) { return os.Create(path) }, "no socket"},
		"somebody's socket": {func() (io.Closer, error) { return net.Listen("unix", path) }, "somebody else"},
		"another kind":      {func() (io.Closer, error) { return net.Listen("unixpacket", path) }, "somebody else"},
		"no directory":      {func() (io.Closer, error) { return io.NopCloser(nil), os.Rename(dir, dir+"2") }, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			held, err := c.put()
			if err != nil {
				t.Fatal(err)
			}
			before := openFDs(t)
			if f, err := here.Make(d); err == nil || !strings.Contains(err.Error(), c.why) {
				t.Errorf("%v, %v", f, err)
			}
			if after := openFDs(t); after != before {
				t.Errorf("%d file descriptors before, %d after", before, after)
			}
			held.Close()
			os.Remove(path)
			_ = os.Rename(dir+"2", dir)
		})
	}
}

// An address that is not there yet is bound to as before.
func TestAnAddressThatIsNotThereYet(t *testing.T) {
	d := recipe.Recipe{Socket: &recipe.Socket{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Address: "192.0.2.1", Port: 8123, Backlog: 5}}
	f, err := here.Make(d)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if now := described(t, f); !now.Alike(d) || now.Socket.Options["IP_FREEBIND"] != 0 {
		t.Errorf("it is %+v", now.Socket)
	}
}

func TestAnswersOfSockDiag(t *testing.T) {
	for _, b := range [][]byte{nil, make([]byte, 31), make([]byte, 100)} {
		if _, err := parseDiag(b); err == nil {
			t.Errorf("%x is understood", b)
		}
	}
	answer := make([]byte, 32)
	answer[4] = unix.SOCK_DIAG_BY_FAMILY
	for _, attribute := range [][]byte{{3, 0, 1, 0}, {200, 0, 1, 0}, {8, 0, 1, 0, 0, 0, 0, 0}, {4, 0, 4, 0}} {
		if _, err := parseDiag(append(answer[:32:32], attribute...)); err == nil {
			t.Errorf("%x is understood", attribute)
		}
	}
	d, err := parseDiag(append(answer, 12, 0, 4, 0, 1, 0, 0, 0, 9, 0, 0, 0, 12, 0, 1, 0, 5, 0, 0, 0, 2, 0, 0x10, 0))
	if err != nil || !d.hasFile || d.inode != 5 || d.device != unix.Mkdev(1, 2) || d.backlog != 9 {
		t.Errorf("%+v, %v", d, err)
	}
}
