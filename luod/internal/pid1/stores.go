package pid1

import (
	"context"
	"fmt"
	"slices"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/internal/storeview"
)

// Store is what PID 1 keeps for a unit.
type Store struct {
	Entries []storeview.Stored
	// Native says that PID 1 carries it over a kexec itself: systemd 261 and newer,
	// with FileDescriptorStorePreserve=.
	Native bool
	// Kept says that PID 1 keeps it while the unit is stopped
	// (FileDescriptorStorePreserve=yes), so that what the unit stores then counts.
	Kept bool
	// Count is how many there are, also where Entries has only some of them.
	Count uint32
}

// Stores returns what is in the fd stores of units; those with an empty one are
// left out, unless PID 1 keeps what they may still put there.
func (Units) Stores(ctx context.Context, units []string) (map[string]Store, error) {
	stores := map[string]Store{}
	if len(units) == 0 {
		return stores, nil
	}
	err := connected(ctx, func(conn *dbus.Conn) error {
		text, err := managerProperty(ctx, conn, "Version")
		if err != nil {
			return fmt.Errorf("ask PID 1 for its version: %w", err)
		}
		carries := majorVersion(text) >= carriesStores
		var full []string
		for _, unit := range units {
			n, err := conn.GetServicePropertyContext(ctx, unit, "NFileDescriptorStore")
			if err != nil {
				return fmt.Errorf("ask PID 1 about the fd store of %s: %w", unit, err)
			}
			var s Store
			// systemd 253 and older don't know it.
			if how, err := conn.GetServicePropertyContext(ctx, unit, "FileDescriptorStorePreserve"); err == nil {
				s.Native = carries && slices.Contains([]any{"yes", "on-success"}, how.Value.Value())
				s.Kept = how.Value.Value() == "yes"
			}
			if s.Count, _ = n.Value.Value().(uint32); s.Count > 0 {
				full = append(full, unit)
			} else if !s.Kept {
				continue
			}
			stores[unit] = s
		}
		entries, err := dump(ctx, full)
		if err != nil {
			return err
		}
		for unit, s := range stores {
			s.Entries = entries[unit]
			stores[unit] = s
		}
		return nil
	})
	return stores, err
}
