package buslink

import "slices"

// The polkit actions of packaging/org.luod.LiveUpdate1.policy.
const (
	ActionUpdate       = "org.luod.LiveUpdate1.live-update"
	ActionLoad         = "org.luod.LiveUpdate1.load"
	ActionCheck        = "org.luod.LiveUpdate1.check"
	ActionCancel       = "org.luod.LiveUpdate1.cancel"
	ActionInhibitBlock = "org.luod.LiveUpdate1.inhibit-block"
	ActionInhibitDelay = "org.luod.LiveUpdate1.inhibit-delay"
	ActionIgnore       = "org.luod.LiveUpdate1.ignore-inhibitors"
	ActionDiscard      = "org.luod.LiveUpdate1.discard"
	ActionList         = "org.luod.LiveUpdate1.list"
)

// The methods beside those of the bus's own names.
const (
	// Opened says that the name is taken: who was told something before may not have
	// heard it.
	Opened = "Opened"
	// Sync is answered after all that luod has to tell now.
	Sync = "Sync"
	// Vouch asks whether all that the bus, a process, knows as process PID is the one of
	// the caller's pidfd. See package peers.
	Vouch = "Vouch"
)

// Names is of the methods that take names of the caller's: Names of the message.
type Names struct{ Names []string }

// Name is of those that take a single one, or another text.
type Name struct {
	Name string `json:"name"`
}

// Named is an entry of ListNames: (ss).
type Named struct{ Name, State string }

// Registration is what Register takes; Timeout is in µs.
type Registration struct {
	Timeout  uint64   `json:"timeout,omitempty"`
	Optional bool     `json:"optional,omitempty"`
	After    []string `json:"after,omitempty"`
	Before   []string `json:"before,omitempty"`
}

// Registered is what Register returns.
type Registered struct {
	Unit string `json:"unit"`
}

// Inhibitor is a lock: as Inhibit takes it without UID and PID, and on the bus (ssssuu).
type Inhibitor struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// Action is what whoever takes the lock needs.
func (i Inhibitor) Action() string {
	if i.Mode == "delay" {
		return ActionInhibitDelay
	}
	return ActionInhibitBlock
}

// Discard is what Discard takes.
type Discard struct {
	Unit  string   `json:"unit"`
	Names []string `json:"names"`
}

// DiscardAll is what DiscardAll takes.
type DiscardAll struct {
	DryRun bool `json:"dryRun,omitempty"`
}

// Stake is what a unit would lose: (sttt).
type Stake struct {
	Unit                  string
	Count, Bytes, Waiting uint64
}

// Stakes is what DiscardAll returns.
type Stakes struct {
	Units  []Stake
	Unread string
	Stuck  uint64
}

// Held is one file descriptor that luod holds: (sstus).
type Held struct {
	Unit, Name string
	Size       uint64
	Seals      uint32
	State      string
}

// Report is which Report is wanted, and Text what it or UnloadOwn returns.
type Report struct {
	Generation uint64 `json:"generation"`
}

// Text is a result that is one.
type Text struct {
	Text string `json:"text"`
}

// Entry is a boot entry.
type Entry struct {
	ID, Kind, Title, Version, Source, Kernel string
	Initrds                                  []string
	CommandLine                              string
	Default                                  bool
	Error                                    string
}

// Kernel is what Check and Load take.
type Kernel struct {
	Entry       string   `json:"entry"`
	Initrds     []string `json:"initrds,omitempty"`
	CommandLine string   `json:"commandLine,omitempty"`
	Override    []string `json:"override,omitempty"`
}

// Checked is what they return.
type Checked struct {
	Results []Result
	Target  Target
}

// Result is a check's: (ssss), with the verdict "ok", "warn" or "fail".
type Result struct{ Name, Verdict, Reason, Remedy string }

// Target is what was checked.
type Target struct {
	Kernel          string
	Initrds         []string
	CommandLine     string
	Profile         uint32
	Release, Digest string
}

// Update is what LiveUpdate takes; When is in µs of CLOCK_REALTIME, and 0 means now.
type Update struct {
	When             uint64   `json:"when,omitempty"`
	Verify           bool     `json:"verify,omitempty"`
	DryRun           bool     `json:"dryRun,omitempty"`
	NoBlock          bool     `json:"noBlock,omitempty"`
	Fast             bool     `json:"fast,omitempty"`
	IgnoreInhibitors bool     `json:"ignoreInhibitors,omitempty"`
	Message          string   `json:"message,omitempty"`
	NoWall           bool     `json:"noWall,omitempty"`
	Override         []string `json:"override,omitempty"`
}

// Actions are what whoever asks for the update needs.
func (u Update) Actions() []string {
	if u.IgnoreInhibitors {
		return []string{ActionUpdate, ActionIgnore}
	}
	return []string{ActionUpdate}
}

// Generation is what LiveUpdate returns.
type Generation struct {
	Generation uint64 `json:"generation"`
}

// Bus is what Vouch takes.
type Bus struct {
	Bus uint32 `json:"bus"`
	PID uint32 `json:"pid"`
}

// Fetched is what Retrieve returns, a name for each descriptor.
type Fetched = Names

// MaxReason is how long a reason or a message may be, in bytes.
const MaxReason = 1024

// MaxTimeout is the longest that a service may ask for, in µs: an hour.
const MaxTimeout = 3600 * 1_000_000

// actions are what the callers of methods need, except those whose arguments decide.
var actions = map[string]string{
	"Cancel": ActionCancel, "ListFileDescriptors": ActionList, "Discard": ActionDiscard, "DiscardAll": ActionDiscard,
	"Report": ActionList, "ListEntries": ActionCheck, "Check": ActionCheck, "Load": ActionLoad, "Unload": ActionLoad, "UnloadOwn": ActionLoad,
}

// Action is what the caller of a method needs, whatever its arguments; false says that
// there is none.
func Action(method string) (string, bool) {
	action, is := actions[method]
	return action, is
}

// May says whether polkit has allowed the caller all of these.
func (c *Caller) May(actions ...string) bool {
	for _, action := range actions {
		if !slices.Contains(c.Allowed, action) {
			return false
		}
	}
	return true
}
