package coordinator

import (
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
)

// withinLimitsLocked refuses what a unit has too much of, now: on the other side no limit
// counts any more, since it would cost the unit its memory.
func (c *Coordinator) withinLimitsLocked() error {
	c.Vault.Refresh()
	over := c.Vault.Over()
	if len(over) == 0 {
		return nil
	}
	texts := make([]string, len(over))
	for i, o := range over {
		texts[i] = o.String()
	}
	return fault.New(errorname.OverLimit, "no live update is possible: %s; raise the limit, or have the unit release some ('luoctl list %s')", strings.Join(texts, "; "), over[0].Unit)
}
