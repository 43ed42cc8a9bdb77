package coordinator

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/fault"
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
		if dir := within(declared[unit].Directories, reissues[unit].Removed); dir != "" {
			return nil, fault.New(errorname.WouldNotSurvive, "no live update is possible: PID 1 would remove the directory %s when %s stops, before it is packed; run 'luoctl enable %s', or set RuntimeDirectoryPreserve=yes", dir, unit, unit)
		}
		_, taken := stores[unit]
		why := hindrance(reissues[unit], taken || len(declared[unit].Directories) > 0)
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

// within returns the first of directories that is one of removed, or has to do with one.
func within(directories, removed []string) string {
	for _, dir := range directories {
		for _, r := range removed {
			if strings.HasPrefix(dir+"/", r+"/") || strings.HasPrefix(r+"/", dir+"/") {
				return dir
			}
		}
	}
	return ""
}

// hindrance says why a start of the unit could not put back what luod takes over, if
// it does; and where luod-reissue is to run anyway, why that would fail.
func hindrance(r pid1.Reissue, taken bool) string {
	switch {
	case !r.Runs && !taken:
		return "" // PID 1 carries it, or there is nothing
	case !r.Runs:
		return "luod-reissue is not in its ExecStartPre="
	case r.NotifyAccess != "exec" && r.NotifyAccess != "all":
		return fmt.Sprintf("it has NotifyAccess=%s, and luod-reissue needs exec or all", r.NotifyAccess)
	case r.StoreMax == 0:
		return "it has FileDescriptorStoreMax=0"
	}
	return ""
}
