package coordinator

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/unitsection"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/declared"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/pid1"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/state"
)

// plan is who takes part in an update, and what of fd stores comes along.
type plan struct {
	// declared is what unit files say, and nil if that, or who takes part, is not known.
	declared map[string]*unitsection.Section
	members  []*participant
	// stores have only what luod takes over, and without is what stays behind.
	stores  map[string]pid1.Store
	without []manifest.LeftBehind
}

// plan asks PID 1 and the unit files, for an update, a dry run and a check alike. It
// changes nothing, but that registrations of units that no longer run end. With an error
// the plan has what was found before.
func (c *Coordinator) plan(ctx context.Context, options record.Options) (p plan, err error) {
	members, declared, err := c.gather(ctx)
	if err != nil {
		return p, err
	}
	if _, err := c.fence(members); err != nil {
		return p, err
	}
	p.members, p.declared = members, declared
	p.stores, p.without, err = c.stores(ctx, declared, options)
	return p, err
}

// gather finds out who takes part: the services that registered and still run,
// and those that run and are declared.
func (c *Coordinator) gather(ctx context.Context) ([]*participant, map[string]*unitsection.Section, error) {
	ctx, cancel := context.WithTimeout(ctx, state.AskTimeout)
	defer cancel()
	declared, err := declared.All(ctx, c.Units, c.Log)
	if err != nil {
		return nil, nil, err
	}
	unlock, err := c.Lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	units := slices.Collect(maps.Keys(c.Rec.Registered))
	unlock()
	for unit, d := range declared {
		if d.Answers && !slices.Contains(units, unit) {
			units = append(units, unit)
		}
	}
	slices.Sort(units)
	running, err := c.Units.Look(ctx, units)
	if err != nil {
		return nil, nil, fault.New(errorname.NoManager, "find out which services run: %w", err)
	}
	unlock, err = c.Lock(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	return c.membersLocked(units, running, declared), declared, nil
}

// membersLocked are those of units that run and take part. Registrations of others end.
func (c *Coordinator) membersLocked(units []string, running map[string]pid1.Running, declared map[string]*unitsection.Section) []*participant {
	var members []*participant
	for _, unit := range units {
		r, registered := c.Rec.Registered[unit]
		d := declared[unit]
		if invocation := running[unit].InvocationID; !running[unit].Runs() || registered && r.Invocation != "" && r.Invocation != invocation {
			delete(c.Rec.Registered, unit) // it lasts as long as its unit runs
			r, registered = record.Registration{}, false
		}
		if running[unit].Runs() && (registered || d != nil && d.Answers) {
			m := &participant{invocation: running[unit].InvocationID}
			m.Member = barrier.Member{Unit: unit, Timeout: r.Timeout, Optional: r.Optional, Answers: true, After: r.After, Before: r.Before}
			if d != nil {
				m.Timeout = cmp.Or(m.Timeout, d.Timeout)
				m.Optional = m.Optional || d.Optional
				m.After, m.Before = slices.Concat(m.After, d.After), slices.Concat(m.Before, d.Before)
			}
			// The kernel carries its session whether it is ready or not.
			m.Optional = m.Optional && !c.DelegatesLocked(unit)
			m.Timeout = min(cmp.Or(m.Timeout, c.Settings.DefaultTimeout), c.Settings.PrepareTimeout)
			members = append(members, m)
		}
	}
	return members
}

func (c *Coordinator) fence(members []*participant) (*barrier.Barrier, error) {
	list := make([]barrier.Member, len(members))
	for i, m := range members {
		list[i] = m.Member
	}
	b, err := barrier.New(list, c.Clock.Now().Add(c.Settings.PrepareTimeout))
	if err != nil {
		return nil, fault.New(errorname.BadOrder, "%w", err)
	}
	return b, nil
}
