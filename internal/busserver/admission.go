package busserver

import (
	"sync"
	"time"

	"github.com/liveupdate/luod/internal/busconn"
)

// Limits bounds what one user, and all together, may have under way. luod itself bounds
// how often a unit calls, by luod.conf(5), and says so; these are higher, and only against
// whoever wants to use up this process or luod.
type Limits struct {
	// Calls and Bytes are how many calls one user may have under way, and how long their
	// messages may be together; root, who is many services, may have RootCalls.
	Calls, RootCalls, Bytes int
	// Rate is how many calls of one user but root are taken in a second, in the long run,
	// and Burst in a row.
	Rate, Burst float64
	// Strangers is how many connections may wait for the bus to tell who they are, and
	// StrangersCalls how many calls each of them.
	Strangers, StrangersCalls int
	// StrangersBytes is how long their messages may be together.
	StrangersBytes int
	// Refusals is how many calls of one user are refused in a second; others have no
	// answer, so that the bus itself stops who waits for too many.
	Refusals float64
}

// DefaultLimits are those of the system bus.
var DefaultLimits = Limits{
	Calls: 64, RootCalls: 1024, Bytes: 4 << 20, Rate: 1000, Burst: 4000,
	Strangers: 512, StrangersCalls: 32, StrangersBytes: 16 << 20, Refusals: 50,
}

// maxAccounts bounds the users that are remembered.
const maxAccounts = 4096

// admission decides which calls are taken.
type admission struct {
	limits Limits

	mu sync.Mutex
	// users have something under way, or have had it a moment ago.
	users map[uint32]*account
	// strangers are connections of which the bus has been asked whose they are.
	strangers     map[string]*stranger
	strangerBytes int
}

// account is what one user has.
type account struct {
	calls, bytes     int
	tokens, refusals float64
	at               time.Time
}

// stranger is a connection with the calls that wait.
type stranger struct{ waiting []*busconn.Message }

func newAdmission(limits Limits) *admission {
	if limits == (Limits{}) {
		limits = DefaultLimits
	}
	return &admission{limits: limits, users: map[uint32]*account{}, strangers: map[string]*stranger{}}
}

// userLocked returns the account of a user, or nil if there are too many.
func (a *admission) userLocked(uid uint32, now time.Time) *account {
	u := a.users[uid]
	if u == nil {
		if len(a.users) >= maxAccounts {
			for other, o := range a.users {
				if o.calls == 0 && now.Sub(o.at) > time.Minute {
					delete(a.users, other)
				}
			}
		}
		if len(a.users) >= maxAccounts {
			return nil
		}
		u = &account{tokens: a.limits.Burst, refusals: a.limits.Refusals, at: now}
		a.users[uid] = u
	}
	if passed := now.Sub(u.at).Seconds(); passed > 0 {
		u.tokens = min(a.limits.Burst, u.tokens+passed*a.limits.Rate)
		u.refusals = min(a.limits.Refusals, u.refusals+passed*a.limits.Refusals)
	}
	u.at = now
	return u
}

// decision is what becomes of a call.
type decision int

const (
	taken decision = iota
	// refused is answered with an error, and dropped isn't answered.
	refused
	dropped
)

// enter takes a call of a user, whose release is to be called when it is done.
func (a *admission) enter(uid uint32, size int, now time.Time) decision {
	a.mu.Lock()
	defer a.mu.Unlock()
	u := a.userLocked(uid, now)
	if u == nil {
		return dropped
	}
	calls := a.limits.Calls
	if uid == 0 {
		calls = a.limits.RootCalls
	}
	if u.tokens >= 1 || uid == 0 {
		u.tokens = max(0, u.tokens-1)
		if u.calls < calls && u.bytes+size <= max(a.limits.Bytes, size) {
			u.calls++
			u.bytes += size
			return taken
		}
	}
	return u.refuse()
}

func (u *account) refuse() decision {
	if u.refusals < 1 {
		return dropped
	}
	u.refusals--
	return refused
}

// release is for a call that was taken.
func (a *admission) release(uid uint32, size int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if u := a.users[uid]; u != nil {
		u.calls--
		u.bytes -= size
	}
}

// await has a call wait until whose it is has been found out. first says that it is the
// connection's first, and waits that it waits.
func (a *admission) await(m *busconn.Message) (waits, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.strangers[m.Sender]
	first = s == nil
	if first && len(a.strangers) >= a.limits.Strangers ||
		!first && len(s.waiting) >= a.limits.StrangersCalls ||
		a.strangerBytes+m.Size() > a.limits.StrangersBytes {
		return false, false
	}
	if first {
		s = &stranger{}
		a.strangers[m.Sender] = s
	}
	s.waiting = append(s.waiting, m)
	a.strangerBytes += m.Size()
	return true, first
}

// waiting says whether calls of that connection wait.
func (a *admission) waiting(sender string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.strangers[sender] != nil
}

// known returns the calls that have waited.
func (a *admission) known(sender string) []*busconn.Message {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.strangers[sender]
	delete(a.strangers, sender)
	for _, m := range s.waiting {
		a.strangerBytes -= m.Size()
	}
	return s.waiting
}
