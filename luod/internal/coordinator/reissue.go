package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/fdstores"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
)

// reissuable refuses what luod-reissue could not put back, as PID 1 is set up now:
// the next start would fail, or begin with an empty store. Of what is optional it
// takes the store out of stores, and says why it is left behind. It asks PID 1 and not
// the unit's files, since those are what somebody meant.
func (c *Coordinator) reissuable(ctx context.Context, declared map[string]*unitsection.Section, stores map[string]pid1.Store) ([]manifest.LeftBehind, error) {
	var units []string
	for unit, d := range declared {
		if d.Store || len(d.Directories) > 0 {
			units = append(units, unit)
		}
	}
	reissues, err := c.Units.Reissues(ctx, slices.Sorted(slices.Values(units)))
	if err != nil {
		return nil, fault.New(errorname.NoManager, "find out whether fd stores can be put back: %w", err)
	}
	var without []manifest.LeftBehind
	for _, unit := range slices.Sorted(maps.Keys(reissues)) {
		if dir := fdstores.Within(declared[unit].Directories, reissues[unit].Removed); dir != "" {
			return nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: PID 1 would remove the directory %s when %s stops, before it is packed; run 'luoctl enable %s', or set RuntimeDirectoryPreserve=yes", dir, unit, unit)
		}
		_, taken := stores[unit]
		why := fdstores.Hindrance(reissues[unit], taken || len(declared[unit].Directories) > 0)
		switch {
		case why == "":
		case declared[unit].Optional:
			delete(stores, unit)
			without = append(without, manifest.LeftBehind{Unit: unit, Reason: fmt.Sprintf("its fd store could not be put back: %s; 'luoctl enable %s' sets luod-reissue up", why, unit)})
		default:
			return nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: the fd store of %s could not be put back: %s; run 'luoctl enable %s', which sets luod-reissue up; with OnFailure=ignore in its unit file an update goes on without", unit, why, unit)
		}
	}
	return without, nil
}
