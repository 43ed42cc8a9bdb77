package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/storeview"
)

// contents is what PID 1 has in a unit's fd store.
type contents struct {
	// max is how many entries it keeps, and count how many there are.
	max, count uint32
	// entries counts those of each name and file, and is nil where PID 1 does not tell
	// (systemd 253 and older).
	entries map[memfdName]int
}

// unknownMethod is what older PID 1s answer.
const unknownMethod = "org.freedesktop.DBus.Error.UnknownMethod"

// lookInto asks PID 1 about the store of unit.
func lookInto(ctx context.Context, unit string) (contents, error) {
	var c contents
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return c, fmt.Errorf("see whether PID 1 has everything: %w", err)
	}
	defer conn.Close()
	for name, value := range map[string]*uint32{"FileDescriptorStoreMax": &c.max, "NFileDescriptorStore": &c.count} {
		p, err := conn.GetServicePropertyContext(ctx, unit, name)
		if err != nil {
			return c, fmt.Errorf("see whether PID 1 has everything: ask for %s of %s: %w", name, unit, err)
		}
		*value, _ = p.Value.Value().(uint32)
	}
	if c.max == 0 {
		c.entries = map[memfdName]int{}
		return c, nil // PID 1 answers that there is no store (FileDescriptorStoreDisabled)
	}
	view, err := storeview.View(ctx)
	if err != nil {
		return c, fmt.Errorf("see whether PID 1 has everything: %w", err)
	}
	defer view.Close()
	stores, err := view.Dump(ctx, unit)
	if remote := (godbus.Error{}); errors.As(err, &remote) && remote.Name == unknownMethod {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("see whether PID 1 has everything: %w", err)
	}
	c.entries = map[memfdName]int{}
	for _, e := range stores[unit] {
		c.entries[memfdName{e.Name, e.Device, e.Inode}]++
	}
	return c, nil
}

// id is what PID 1 tells of the entry.
func (e entry) id() memfdName {
	var st unix.Stat_t
	if err := unix.Fstat(int(e.f.Fd()), &st); err != nil {
		return memfdName{}
	}
	return memfdName{e.name, st.Dev, st.Ino}
}

// missing says which of entries are not there; several of one name and file have to be
// there as often.
func (c contents) missing(unit string, entries []entry) error {
	why := fmt.Sprintf("%s has FileDescriptorStoreMax=%d, and PID 1 closes what exceeds it; raise it and start the unit again. luod keeps everything", unit, c.max)
	if c.entries == nil {
		if n := uint32(len(entries)); c.count < n {
			return fmt.Errorf("%d of %d entries did not get into the fd store: %s", n-c.count, n, why)
		}
		return nil
	}
	want := map[memfdName]int{}
	for _, e := range entries {
		id := e.id()
		if want[id]++; c.entries[id] < want[id] {
			return fmt.Errorf("%q did not get into the fd store: %s", e.name, why)
		}
	}
	return nil
}
