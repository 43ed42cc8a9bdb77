package recipe

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Version is the only one that Decode takes.
const Version = 1

// Recipe is of one entry of a fd store; exactly one of File, Socket and Same
// is set.
type Recipe struct {
	Version int     `json:"version"`
	File    *File   `json:"file,omitempty"`
	Socket  *Socket `json:"socket,omitempty"`
	Same    *Same   `json:"same,omitempty"`
}

// File is a regular file on a file system that lives through a reboot.
type File struct {
	// Path is absolute, in the mount namespace of PID 1.
	Path string `json:"path"`
	// UUID is the file system's in hex (FS_IOC_GETFSUUID); HandleType and Handle
	// are the file's (name_to_handle_at(2)), and tell it from one that took its
	// inode or its path.
	UUID       string `json:"uuid"`
	HandleType int32  `json:"handleType"`
	Handle     []byte `json:"handle"`
	Inode      uint64 `json:"inode"`
	// Size and Offset are in bytes, of the moment when it was described.
	Size   int64 `json:"size"`
	Offset int64 `json:"offset"`
	// Flags are O_* of fcntl(2), within FileFlags.
	Flags int `json:"flags"`
}

// FileFlags are those that a file is opened with again.
const FileFlags = unix.O_ACCMODE | unix.O_APPEND | unix.O_NONBLOCK | unix.O_DIRECT | unix.O_SYNC | unix.O_NOATIME

// Position is where a file of size bytes is gone on with: one that was at its end
// is at its end still, however far others have written it since.
func (f *File) Position(size int64) int64 {
	if f.Offset > 0 && f.Offset == f.Size {
		return size
	}
	return f.Offset
}

// Socket is a listening stream or seqpacket socket, or a bound datagram socket, in
// the network namespace of PID 1.
type Socket struct {
	// Family, Type and Protocol are those of socket(2).
	Family   int `json:"family"`
	Type     int `json:"type"`
	Protocol int `json:"protocol"`
	// Address is an IP address, with the name of an interface as its zone where it
	// has one, and Port its port.
	Address string `json:"address,omitempty"`
	Port    int    `json:"port,omitempty"`
	// Path is of a unix socket's file; UID, GID and Mode (without the type) are the
	// file's. Abstract is the name of one without a file, without its first NUL.
	Path     string `json:"path,omitempty"`
	UID      uint32 `json:"uid,omitempty"`
	GID      uint32 `json:"gid,omitempty"`
	Mode     uint32 `json:"mode,omitempty"`
	Abstract []byte `json:"abstract,omitempty"`
	// Backlog is listen(2)'s.
	Backlog     int  `json:"backlog,omitempty"`
	NonBlocking bool `json:"nonBlocking,omitempty"`
	// Device is what SO_BINDTODEVICE has bound it to.
	Device string `json:"device,omitempty"`
	// Options are those of Options that a new socket has otherwise, by name.
	Options map[string]int `json:"options,omitempty"`
}

// Listens says whether it is of a type that listens.
func (s *Socket) Listens() bool { return s.Type != unix.SOCK_DGRAM }

// Same is one more open file description of a memfd.
type Same struct {
	// Of is luod's name for the entry that the memfd is carried as.
	Of string `json:"of"`
	// Flags are O_* of fcntl(2), within SameFlags, and Offset is in bytes.
	Flags  int   `json:"flags"`
	Offset int64 `json:"offset"`
}

// SameFlags are those that a memfd is opened with again.
const SameFlags = unix.O_ACCMODE | unix.O_APPEND | unix.O_NONBLOCK | unix.O_NOATIME

// Alike says whether d and o are of one thing: the same file, opened in the same
// way, or the same address.
func (d Recipe) Alike(o Recipe) bool {
	switch {
	case d.File != nil && o.File != nil:
		a, b := d.File, o.File
		return a.UUID == b.UUID && a.HandleType == b.HandleType && slices.Equal(a.Handle, b.Handle) && a.Flags == b.Flags
	case d.Socket != nil && o.Socket != nil:
		a, b := d.Socket, o.Socket
		return a.Family == b.Family && a.Type == b.Type && a.Protocol == b.Protocol && a.Address == b.Address && a.Port == b.Port &&
			a.Path == b.Path && slices.Equal(a.Abstract, b.Abstract) && a.Device == b.Device
	case d.Same != nil && o.Same != nil:
		return d.Same.Of == o.Same.Of && d.Same.Flags == o.Same.Flags
	}
	return false
}

// String is for people.
func (d Recipe) String() string {
	switch {
	case d.File != nil:
		return d.File.Path
	case d.Socket != nil:
		return d.Socket.String()
	case d.Same != nil:
		return "as " + d.Same.Of
	}
	return "nothing"
}

func (s *Socket) String() string {
	kind := map[int]string{unix.SOCK_STREAM: "stream", unix.SOCK_DGRAM: "datagram", unix.SOCK_SEQPACKET: "seqpacket"}[s.Type]
	switch {
	case s.Path != "":
		return fmt.Sprintf("%s socket %s", kind, s.Path)
	case s.Family == unix.AF_UNIX:
		return fmt.Sprintf("%s socket @%s", kind, s.Abstract)
	case strings.Contains(s.Address, ":"):
		return fmt.Sprintf("%s socket [%s]:%d", kind, s.Address, s.Port)
	}
	return fmt.Sprintf("%s socket %s:%d", kind, s.Address, s.Port)
}

// Bounds of what comes from the kernel, which has the same.
const (
	maxHandle    = 128 // MAX_HANDLE_SZ of name_to_handle_at(2)
	maxSunPath   = 107 // sun_path of unix(7), with its NUL
	maxInterface = 15  // IFNAMSIZ of netdevice(7), with its NUL
	maxName      = 512
)

// Check says why d can't be of an entry that luod would describe.
func (d Recipe) Check() error {
	n := 0
	var err error
	if d.File != nil {
		n, err = n+1, d.File.check()
	}
	if d.Socket != nil {
		n, err = n+1, d.Socket.check()
	}
	if d.Same != nil {
		n, err = n+1, d.Same.check()
	}
	switch {
	case d.Version != Version:
		return fmt.Errorf("it is of version %d, and only %d is understood", d.Version, Version)
	case n != 1:
		return fmt.Errorf("it describes %d things and not one", n)
	}
	return err
}

func (f *File) check() error {
	switch {
	case !cleanPath(f.Path, unix.PathMax-1):
		return fmt.Errorf("%q is no path of a file", f.Path)
	case len(f.UUID) > 64 || strings.Trim(f.UUID, "0123456789abcdef") != "":
		return fmt.Errorf("%q is no UUID of a file system", f.UUID)
	case len(f.Handle) == 0 || len(f.Handle) > maxHandle:
		return fmt.Errorf("a file handle has %d bytes, and not 1 to %d", len(f.Handle), maxHandle)
	case f.Size < 0 || f.Offset < 0:
		return fmt.Errorf("the size %d or the offset %d is negative", f.Size, f.Offset)
	}
	return checkFlags(f.Flags, FileFlags)
}

func (s *Same) check() error {
	switch {
	case s.Of == "" || len(s.Of) > maxName:
		return fmt.Errorf("the name of the entry it shares its memfd with has %d bytes", len(s.Of))
	case s.Offset < 0:
		return fmt.Errorf("the offset %d is negative", s.Offset)
	}
	return checkFlags(s.Flags, SameFlags)
}

func checkFlags(flags, known int) error {
	if flags&^known != 0 || flags&unix.O_ACCMODE == unix.O_ACCMODE {
		return fmt.Errorf("the flags %#o are not those of a file to open", flags)
	}
	return nil
}

func cleanPath(path string, most int) bool {
	return len(path) <= most && filepath.IsAbs(path) && filepath.Clean(path) == path && path != "/" && !strings.Contains(path, "\x00")
}

func (s *Socket) check() error {
	switch s.Family {
	case unix.AF_INET, unix.AF_INET6:
		if err := s.checkInternet(); err != nil {
			return err
		}
	case unix.AF_UNIX:
		if err := s.checkUnix(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("sockets of family %d are not made anew", s.Family)
	}
	switch {
	case s.Backlog < 0:
		return fmt.Errorf("the backlog %d is negative", s.Backlog)
	case len(s.Device) > maxInterface || strings.ContainsAny(s.Device, "/\x00"):
		return fmt.Errorf("%q is no name of a network interface", s.Device)
	}
	for name := range s.Options {
		if !slices.ContainsFunc(Options, func(o Option) bool { return o.Name == name && o.For(s) }) {
			return fmt.Errorf("the socket option %q is not one that is set again", name)
		}
	}
	return nil
}

func (s *Socket) checkInternet() error {
	protocols := map[int][]int{
		unix.SOCK_STREAM: {unix.IPPROTO_TCP, unix.IPPROTO_MPTCP},
		unix.SOCK_DGRAM:  {unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE},
	}
	a, err := netip.ParseAddr(s.Address)
	switch {
	case !slices.Contains(protocols[s.Type], s.Protocol):
		return fmt.Errorf("sockets of type %d and protocol %d are not made anew", s.Type, s.Protocol)
	case err != nil || a.Is4() != (s.Family == unix.AF_INET) || len(a.Zone()) > maxInterface || strings.ContainsAny(a.Zone(), "/\x00"):
		return fmt.Errorf("%q is no address of family %d", s.Address, s.Family)
	case s.Port < 1 || s.Port > 65535:
		return fmt.Errorf("%d is no port", s.Port)
	case s.Path != "" || len(s.Abstract) > 0 || s.UID|s.GID|s.Mode != 0:
		return fmt.Errorf("an internet socket has the path %q", s.Path)
	}
	return nil
}

func (s *Socket) checkUnix() error {
	switch {
	case s.Type != unix.SOCK_STREAM && s.Type != unix.SOCK_DGRAM && s.Type != unix.SOCK_SEQPACKET || s.Protocol != 0:
		return fmt.Errorf("unix sockets of type %d and protocol %d are not made anew", s.Type, s.Protocol)
	case s.Address != "" || s.Port != 0 || s.Device != "":
		return fmt.Errorf("a unix socket has the address %q, the port %d and the interface %q", s.Address, s.Port, s.Device)
	case s.Path == "" && len(s.Abstract) == 0, s.Path != "" && len(s.Abstract) != 0:
		return fmt.Errorf("a unix socket has not one of a path and an abstract name")
	case s.Path != "" && !cleanPath(s.Path, maxSunPath), len(s.Abstract) > maxSunPath:
		return fmt.Errorf("a unix socket can't be bound to %q", s.Path+string(s.Abstract))
	case s.Mode&^0o7777 != 0, s.Path == "" && s.UID|s.GID|s.Mode != 0:
		return fmt.Errorf("%#o is no mode of a socket's file", s.Mode)
	}
	return nil
}
