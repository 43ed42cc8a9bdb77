package storeview

import (
	"context"
	"fmt"
	"strings"

	"github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/memfd"
)

// privateBus is PID 1's own socket, which works without a bus (systemd:
// src/shared/bus-util.c).
const privateBus = "unix:path=/run/systemd/private"

// Stored is an entry of some unit's store, as PID 1 tells of it.
type Stored struct {
	Name string
	// Device and Inode are st_dev and st_ino of stat(2), which tell one file from
	// another.
	Device uint64
	Inode  uint64
	// Memfd says that it is a memfd without MFD_HUGETLB.
	Memfd bool
	// Type is the type in st_mode (S_IFMT), Mode all of it, and Flags are O_* of fcntl(2).
	Type, Mode, Flags uint32
	// Path is for people: mostly the link of /proc/PID/fd (proc_pid_fd(5)), such as
	// "socket:[1234]"; PID 1 shortens some.
	Path string
}

// Carried says whether a kernel can carry it today: memfds, and sessions.
func (s Stored) Carried() bool {
	return s.Memfd || strings.HasPrefix(s.Path, "anon_inode:[luo_session]")
}

// Viewer asks PID 1 what is in fd stores. Make one with View.
type Viewer struct{ conn *dbus.Conn }

// View connects to PID 1 for as long as ctx lasts; the caller closes it.
func View(ctx context.Context) (*Viewer, error) {
	conn, err := dbus.Dial(privateBus, dbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	if err := conn.Auth([]dbus.Auth{dbus.AuthExternal("0")}); err != nil {
		conn.Close()
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	return &Viewer{conn}, nil
}

// Connected says whether PID 1 has not hung up yet.
func (v *Viewer) Connected() bool { return v.conn.Connected() }

// Close hangs up.
func (v *Viewer) Close() { v.conn.Close() }

// Dump asks PID 1 for the stores of units, in the order in which a service gets
// them ($LISTEN_FDS). systemd 253 and older answer with an unknown method
// (org.freedesktop.systemd1(5): DumpUnitFileDescriptorStore).
func (v *Viewer) Dump(ctx context.Context, units ...string) (map[string][]Stored, error) {
	stores := map[string][]Stored{}
	ofMemfds, err := memfd.Device()
	if err != nil {
		return nil, err
	}
	manager := v.conn.Object("org.freedesktop.systemd1", "/org/freedesktop/systemd1")
	for _, unit := range units {
		// (suuutuusu)
		var entries []struct {
			Name                     string
			Mode, Major, Minor       uint32
			Inode                    uint64
			DeviceMajor, DeviceMinor uint32
			Path                     string
			Flags                    uint32
		}
		if err := manager.CallWithContext(ctx, "org.freedesktop.systemd1.Manager.DumpUnitFileDescriptorStore", 0, unit).Store(&entries); err != nil {
			return nil, fmt.Errorf("ask PID 1 what is in the fd store of %s: %w", unit, err)
		}
		for _, e := range entries {
			device := unix.Mkdev(e.Major, e.Minor)
			stores[unit] = append(stores[unit], Stored{
				Name: e.Name, Device: device, Inode: e.Inode, Path: e.Path,
				Memfd: device == ofMemfds && e.Mode&unix.S_IFMT == unix.S_IFREG,
				Type:  e.Mode & unix.S_IFMT, Mode: e.Mode, Flags: e.Flags,
			})
		}
	}
	return stores, nil
}
