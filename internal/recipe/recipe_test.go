package recipe

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func file() *File {
	return &File{Path: "/var/log/x", UUID: "00ff", HandleType: 1, Handle: []byte{1, 2}, Inode: 7, Size: 100, Offset: 100, Flags: os.O_WRONLY | unix.O_APPEND}
}

func tcp() *Socket {
	return &Socket{Family: unix.AF_INET, Type: unix.SOCK_STREAM, Protocol: unix.IPPROTO_TCP, Address: "127.0.0.1", Port: 80, Backlog: 5, Options: map[string]int{"SO_REUSEADDR": 1}}
}

func unixSocket() *Socket {
	return &Socket{Family: unix.AF_UNIX, Type: unix.SOCK_STREAM, Path: "/run/x", Mode: 0o600, UID: 3}
}

func TestDescriptionsComeBackAsTheyWere(t *testing.T) {
	v6 := tcp()
	v6.Family, v6.Address, v6.Options = unix.AF_INET6, "fe80::1%eth0", map[string]int{"IPV6_V6ONLY": 1}
	for text, d := range map[string]Recipe{
		"/var/log/x":                      {File: file()},
		"stream socket 127.0.0.1:80":      {Socket: tcp()},
		"stream socket [fe80::1%eth0]:80": {Socket: v6},
		"stream socket /run/x":            {Socket: unixSocket()},
		"datagram socket @a\x00b":         {Socket: &Socket{Family: unix.AF_UNIX, Type: unix.SOCK_DGRAM, Abstract: []byte("a\x00b")}},
		"as store:0:x":                    {Same: &Same{Of: "store:0:x", Flags: os.O_RDWR, Offset: 5}},
	} {
		f, err := d.Memfd()
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		got, err := Read(f)
		d.Version = Version
		if err != nil || !reflect.DeepEqual(got, d) || got.String() != text || !got.Alike(d) {
			t.Errorf("%q: %+v became %+v, %v", text, d, got, err)
		}
		if _, err := f.WriteAt([]byte("x"), 0); err == nil {
			t.Error("it can be changed")
		}
		f.Close()
	}
}

func TestWhatIsNoDescription(t *testing.T) {
	for name, spoil := range map[string]func(d *Recipe){
		"two things":              func(d *Recipe) { d.Socket = tcp() },
		"nothing":                 func(d *Recipe) { d.File = nil },
		"a relative path":         func(d *Recipe) { d.File.Path = "x" },
		"a path with dots":        func(d *Recipe) { d.File.Path = "/x/../y" },
		"the root":                func(d *Recipe) { d.File.Path = "/" },
		"a long path":             func(d *Recipe) { d.File.Path = "/" + strings.Repeat("x", 4096) },
		"a path with a NUL":       func(d *Recipe) { d.File.Path = "/x\x00" },
		"a path that is no UTF-8": func(d *Recipe) { d.File.Path = "/x\xff" },
		"no handle":               func(d *Recipe) { d.File.Handle = nil },
		"a strange UUID":          func(d *Recipe) { d.File.UUID = "../x" },
		"a truncating file":       func(d *Recipe) { d.File.Flags |= unix.O_TRUNC },
		"a directory":             func(d *Recipe) { d.File.Flags |= unix.O_DIRECTORY },
		"no access mode":          func(d *Recipe) { d.File.Flags = unix.O_ACCMODE },
		"a negative offset":       func(d *Recipe) { d.File.Offset = -1 },
		"a strange family":        func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Family = unix.AF_NETLINK },
		"a raw socket":            func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Type = unix.SOCK_RAW },
		"SCTP":                    func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Protocol = unix.IPPROTO_SCTP },
		"no port":                 func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Port = 0 },
		"a host name":             func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Address = "localhost" },
		"another family":          func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Address = "::1" },
		"a path of TCP":           func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Path = "/x" },
		"a device of slashes":     func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Device = "../x" },
		"an unknown option":       func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Options["SO_DEBUG"] = 1 },
		"an option of others":     func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Options["SO_PASSCRED"] = 1 },
		"a negative backlog":      func(d *Recipe) { *d = Recipe{Socket: tcp()}; d.Socket.Backlog = -1 },
		"a port of unix":          func(d *Recipe) { *d = Recipe{Socket: unixSocket()}; d.Socket.Port = 1 },
		"no address":              func(d *Recipe) { *d = Recipe{Socket: unixSocket()}; d.Socket.Path = "" },
		"two addresses":           func(d *Recipe) { *d = Recipe{Socket: unixSocket()}; d.Socket.Abstract = []byte("x") },
		"a long address": func(d *Recipe) {
			*d = Recipe{Socket: unixSocket()}
			d.Socket.Path = "/" + strings.Repeat("x", 107)
		},
		"a mode with a type":    func(d *Recipe) { *d = Recipe{Socket: unixSocket()}; d.Socket.Mode |= unix.S_IFREG },
		"the same as nothing":   func(d *Recipe) { *d = Recipe{Same: &Same{}} },
		"the same with O_TRUNC": func(d *Recipe) { *d = Recipe{Same: &Same{Of: "x", Flags: unix.O_TRUNC}} },
	} {
		d := Recipe{File: file()}
		spoil(&d)
		if f, err := d.Memfd(); err == nil {
			f.Close()
			t.Errorf("%s is taken: %+v", name, d)
		}
	}
	good := `{"version":1,"same":{"of":"x","flags":0,"offset":0}}`
	if _, err := Decode([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "{}", "null", "[]", good + good, good + "x", strings.Replace(good, "1", "2", 1), strings.Replace(good, "of", "off", 1),
		strings.Replace(good, `"x"`, `"`+strings.Repeat("x", 1000)+`"`, 1), good + strings.Repeat(" ", MaxSize), `{"version":1,"file":null}`,
	} {
		if d, err := Decode([]byte(text)); err == nil {
			t.Errorf("%.80q is %+v", text, d)
		}
	}
}

func TestWhatIsNotSealedIsNotRead(t *testing.T) {
	fd, err := unix.MemfdCreate("x", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "x")
	defer f.Close()
	if _, err := f.WriteString(`{"version":1,"same":{"of":"x","flags":0,"offset":0}}`); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(f); err == nil || !strings.Contains(err.Error(), "sealed") {
		t.Errorf("got %v", err)
	}
}

func TestPositions(t *testing.T) {
	for _, c := range []struct{ size, offset, later, want int64 }{
		{100, 100, 100, 100}, {100, 100, 150, 150}, {100, 100, 10, 10}, {100, 50, 150, 50}, {100, 0, 150, 0}, {0, 0, 150, 0}, {100, 200, 300, 200},
	} {
		f := File{Size: c.size, Offset: c.offset}
		if got := f.Position(c.later); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}

func TestAlike(t *testing.T) {
	one, other := Recipe{File: file()}, Recipe{File: file()}
	other.File.Offset, other.File.Size, other.File.Path = 1, 2, "/moved"
	if !one.Alike(other) {
		t.Error("a file that moved is another")
	}
	other.File.Handle = []byte{1, 3}
	if one.Alike(other) {
		t.Error("another file is the same")
	}
	first, second := Recipe{Socket: tcp()}, Recipe{Socket: tcp()}
	second.Socket.Backlog = 7
	if !first.Alike(second) || first.Alike(one) || one.Alike(Recipe{}) {
		t.Error("sockets are compared otherwise")
	}
	second.Socket.Port = 81
	if first.Alike(second) {
		t.Error("another port is the same")
	}
}

func FuzzDecode(f *testing.F) {
	for _, d := range []Recipe{{File: file()}, {Socket: tcp()}, {Socket: unixSocket()}, {Same: &Same{Of: "store:0:x"}}} {
		memfd, err := d.Memfd()
		if err != nil {
			f.Fatal(err)
		}
		data := make([]byte, MaxSize)
		n, _ := memfd.ReadAt(data, 0)
		f.Add(data[:n])
		memfd.Close()
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Decode(data)
		if err != nil {
			return
		}
		// What is read is good, and can be written and read again as the same.
		if err := d.Check(); err != nil {
			t.Fatal(err)
		}
		memfd, err := d.Memfd()
		if err != nil {
			t.Fatalf("%+v: %v", d, err)
		}
		defer memfd.Close()
		if again, err := Read(memfd); err != nil || !again.Alike(d) || again.String() != d.String() {
			t.Fatalf("%+v became %+v, %v", d, again, err)
		}
	})
}
