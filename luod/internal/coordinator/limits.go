package coordinator

import "strings"

// withinLimitsLocked refuses what a unit has too much of, now: on the other side no limit
// counts any more, since it would cost the unit its memory.
func (c *Coordinator) withinLimitsLocked() error {
	c.vault.Refresh()
	over := c.vault.Over()
	if len(over) == 0 {
		return nil
	}
	texts := make([]string, len(over))
	for i, o := range over {
		texts[i] = o.String()
	}
	return fault("OverLimit", "no live update is possible: %s; raise the limit, or have the unit release some ('luoctl list %s')", strings.Join(texts, "; "), over[0].Unit)
}
