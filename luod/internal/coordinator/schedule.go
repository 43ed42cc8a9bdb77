package coordinator

import (
	"context"
	"fmt"
	"time"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/catalog"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/record"
)

// scheduleInterval is how often the wall clock is looked at at least, since it
// may jump.
const scheduleInterval = 15 * time.Second

// scheduleGrace is how late a scheduled update may begin. Somebody chose the
// hour: one that was missed by more is dropped, and luod says so.
const scheduleGrace = 10 * time.Minute

// schedule checks everything that can be checked now and notes the update for
// later, in place of another that may be noted.
//
// Killed before the record is written: there is no schedule, and nobody was told
// that there is one. Killed after: the next start finds it.
func (c *Coordinator) schedule(ctx context.Context, options record.Options) (uint64, error) {
	at := options.When
	options.When = time.Time{}
	if !at.After(c.Clock.Now()) {
		return 0, fault.New(errorname.BadRequest, "schedule a live update: %s is over", at.Format(time.DateTime))
	}
	generation, err := c.rehearse(ctx, options)
	if err != nil {
		return 0, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return 0, err
	}
	defer unlock()
	was := c.Rec.Schedule
	c.Rec.Schedule = &record.Schedule{At: at.Round(0), Options: options}
	if err := c.SaveLocked(); err != nil {
		c.Rec.Schedule = was
		return 0, fault.New(errorname.NoRecord, "schedule a live update: %w", err)
	}
	c.Log.Info("a live update is scheduled", "at", at, catalog.MessageID, catalog.Scheduled)
	if !options.NoWall {
		c.wall("A live update is scheduled for "+at.Format(time.DateTime)+": the system will boot another kernel, and sessions will end.", options.Message)
	}
	c.armLocked()
	return generation, nil
}

// armLocked waits for the scheduled time, or to look at the clock again.
func (c *Coordinator) armLocked() {
	if c.disarm != nil {
		c.disarm()
		c.disarm = nil
	}
	s := c.Rec.Schedule
	if s == nil {
		return
	}
	// Without its monotonic reading, which a set clock doesn't change.
	left := s.At.Sub(c.Clock.Now().Round(0))
	c.disarm = c.Clock.AfterFunc(max(0, min(left, scheduleInterval)), func() {
		unlock, err := c.Lock(context.Background())
		if err != nil {
			return
		}
		due := s == c.Rec.Schedule && c.dueLocked(s)
		unlock()
		if due {
			c.runScheduled(s)
		}
	})
}

// dueLocked takes the schedule down if its time has come, and says whether to begin.
//
// Killed after that: the update doesn't happen, which is better than twice, and the
// record says so.
func (c *Coordinator) dueLocked(s *record.Schedule) bool {
	late := c.Clock.Now().Round(0).Sub(s.At)
	if late < 0 {
		c.armLocked()
		return false
	}
	c.Rec.Schedule = nil
	c.armLocked()
	c.Rec.LastError = fmt.Sprintf("the live update that was scheduled for %s did not begin: luod was interrupted; schedule it again", s.At.Format(time.DateTime))
	if late > scheduleGrace {
		c.Rec.LastError = fmt.Sprintf("the live update that was scheduled for %s was missed by %s and is dropped; schedule it again", s.At.Format(time.DateTime), late.Round(time.Second))
		c.Log.Error(c.Rec.LastError)
	}
	if err := c.SaveLocked(); err != nil {
		return false // who can't write that down would begin again and again
	}
	return late <= scheduleGrace
}

func (c *Coordinator) runScheduled(s *record.Schedule) {
	s.Options.NoBlock = true
	_, why := c.LiveUpdate(context.Background(), s.Options)
	if why == nil {
		return
	}
	unlock, err := c.Lock(context.Background())
	if err != nil {
		return
	}
	defer unlock()
	c.Rec.LastError = fmt.Sprintf("the scheduled live update did not begin: %v", why)
	c.Log.Error(c.Rec.LastError)
	_ = c.SaveLocked()
}

func (c *Coordinator) scheduledLocked() time.Time {
	if c.Rec.Schedule == nil {
		return time.Time{}
	}
	return c.Rec.Schedule.At
}
