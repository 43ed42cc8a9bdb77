package barrier

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a call may be refused with.
var (
	// ErrNoMember is given to a unit that doesn't take part.
	ErrNoMember = errors.New("the unit does not take part in this live update")
	// ErrNotYet is given to one that says Ready before its turn.
	ErrNotYet = errors.New("it is not this unit's turn yet")
	// ErrTooLate is given to one that has failed already, or whose time is up.
	ErrTooLate = errors.New("it is too late")
)

// Barrier is one update's. Make one with New.
type Barrier struct {
	members []*member
	byName  map[string]*member
	// end is when the whole must be over.
	end     time.Time
	refusal string
}

type member struct {
	Member
	Standing
	first []*member // those that come earlier
}

// New orders members. It fails if their order is a circle. All must be over at
// end, whatever their own timeouts say.
func New(members []Member, end time.Time) (*Barrier, error) {
	b := &Barrier{byName: map[string]*member{}, end: end}
	for _, m := range members {
		if b.byName[m.Unit] != nil {
			return nil, fmt.Errorf("order the services: %s is there twice", m.Unit)
		}
		one := &member{Member: m, Standing: Standing{Unit: m.Unit, State: Waiting}}
		b.members = append(b.members, one)
		b.byName[m.Unit] = one
	}
	for _, m := range b.members {
		for _, name := range m.After {
			m.follow(b.byName[name])
		}
		for _, name := range m.Before {
			if other := b.byName[name]; other != nil {
				other.follow(m)
			}
		}
	}
	return b, b.sort()
}

func (m *member) follow(first *member) {
	if first != nil && !slices.Contains(m.first, first) {
		m.first = append(m.first, first)
	}
}

// sort puts members into an order in which each follows those it comes after.
func (b *Barrier) sort() error {
	var sorted []*member
	left := b.members
	for len(left) > 0 {
		var later []*member
		for _, m := range left {
			if slices.ContainsFunc(m.first, func(f *member) bool { return !slices.Contains(sorted, f) }) {
				later = append(later, m)
			} else {
				sorted = append(sorted, m)
			}
		}
		if len(later) == len(left) {
			return fmt.Errorf("order the services: %s come after each other in a circle; change their After= or Before= in [X-LiveUpdate]", circle(later))
		}
		left = later
	}
	b.members = sorted
	return nil
}

// circle walks from one that waits to one that it waits for until it comes back.
func circle(stuck []*member) string {
	var path []*member
	for m := stuck[0]; ; {
		if i := slices.Index(path, m); i >= 0 {
			var names []string
			for _, on := range path[i:] {
				names = append(names, on.Member.Unit)
			}
			return strings.Join(names, " and ")
		}
		path = append(path, m)
		m = m.first[slices.IndexFunc(m.first, func(f *member) bool { return slices.Contains(stuck, f) })]
	}
}

// Turns gives everybody whose turn it is now its deadline and returns their
// names. Call it once at the start and after every change.
func (b *Barrier) Turns(now time.Time) []string {
	var turns []string
	for _, m := range b.members { // in order, so one pass is enough
		if b.refusal != "" || m.State != Waiting || !m.free() {
			continue
		}
		if !m.Answers {
			m.State = Ready
			continue
		}
		m.State, m.Deadline = Preparing, now.Add(m.Timeout)
		if m.Deadline.After(b.end) {
			m.Deadline = b.end
		}
		turns = append(turns, m.Member.Unit)
	}
	return turns
}

func (m *member) free() bool {
	return !slices.ContainsFunc(m.first, func(f *member) bool { return f.State != Ready && f.State != Failed })
}

// Ready notes that unit is ready. To say it again is no error.
func (b *Barrier) Ready(unit string, now time.Time) error {
	m := b.byName[unit]
	switch {
	case m == nil:
		return ErrNoMember
	case m.State == Ready:
		return nil
	case m.State == Waiting:
		return fmt.Errorf("%w: wait for PrepareForLiveUpdate", ErrNotYet)
	case m.State == Failed:
		return fmt.Errorf("%w: %s", ErrTooLate, m.Reason)
	case now.After(m.Deadline):
		return fmt.Errorf("%w: its time was up", ErrTooLate)
	}
	m.State, m.Deadline = Ready, time.Time{}
	return nil
}

// Fail notes that unit can't take part, also if it was ready or it was not its
// turn yet. The update is refused, or goes on without the unit if that may be.
func (b *Barrier) Fail(unit, reason string) error {
	m := b.byName[unit]
	if m == nil {
		return ErrNoMember
	}
	if m.State == Failed {
		return nil // the first reason stands
	}
	m.State, m.Reason, m.Deadline = Failed, reason, time.Time{}
	if !m.Optional && b.refusal == "" {
		b.refusal = unit + ": " + reason
	}
	return nil
}

// Expire fails everybody whose time is up.
func (b *Barrier) Expire(now time.Time) {
	for _, m := range b.members {
		switch {
		case m.State == Preparing && !now.Before(m.Deadline):
			_ = b.Fail(m.Member.Unit, fmt.Sprintf("it did not say Ready within %s", b.allowed(m)))
		case m.State == Waiting && !now.Before(b.end):
			_ = b.Fail(m.Member.Unit, "the time for all services together was up before its turn came")
		}
	}
}

func (b *Barrier) allowed(m *member) string {
	if m.Deadline.Equal(b.end) {
		return "the time that all services have together"
	}
	return m.Timeout.String()
}

// Next is when Expire has to be called, zero if nobody's time runs.
func (b *Barrier) Next() time.Time {
	var next time.Time
	for _, m := range b.members {
		if m.State == Preparing && (next.IsZero() || m.Deadline.Before(next)) {
			next = m.Deadline
		}
	}
	return next
}

// Verdict says whether the update may go on, and if it is refused, why.
func (b *Barrier) Verdict() (Verdict, string) {
	if b.refusal != "" {
		return Refused, b.refusal
	}
	for _, m := range b.members {
		if m.State != Ready && m.State != Failed {
			return Closed, ""
		}
	}
	return Passed, ""
}

// Standings returns everybody's state in the order of preparation.
func (b *Barrier) Standings() []Standing {
	list := make([]Standing, len(b.members))
	for i, m := range b.members {
		list[i] = m.Standing
	}
	return list
}

// Turn says until when it is unit's turn, and whether it is.
func (b *Barrier) Turn(unit string) (time.Time, bool) {
	m := b.byName[unit]
	if m == nil || m.State != Preparing {
		return time.Time{}, false
	}
	return m.Deadline, true
}

// Answering lists the units whose running matters: those that have their turn or
// have said Ready themselves.
func (b *Barrier) Answering() []string {
	var units []string
	for _, m := range b.members {
		if m.Answers && (m.State == Preparing || m.State == Ready) {
			units = append(units, m.Member.Unit)
		}
	}
	return units
}
