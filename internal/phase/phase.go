package phase

// Phase is where a live update stands.
type Phase string

// The phases. Before Committed everything can be taken back; afterwards only
// PID 1 or the kernel can stop the jump, and then it is taken back too.
const (
	Idle      Phase = "idle"
	Checking  Phase = "checking"
	Preparing Phase = "preparing"
	Packing   Phase = "packing"
	Stopping  Phase = "stopping"
	Committed Phase = "committed"
	Restoring Phase = "restoring"
)

// Underway says that an update has begun and can't be asked for again.
func (p Phase) Underway() bool { return p != Idle && p != Restoring }

// Frozen says that the cargo can't change any more.
func (p Phase) Frozen() bool { return p == Packing || p == Stopping || p == Committed }

// Event is what moves an update on.
type Event string

// The events.
const (
	Triggered  Event = "trigger"
	Checked    Event = "checks passed"
	Prepared   Event = "all ready"
	Packed     Event = "packed"
	PackedFast Event = "packed, fast"
	Stopped    Event = "all stopped"
	TakenBack  Event = "taken back"
	Resumed    Event = "taken back, some have not fetched yet"
	Jumped     Event = "kexec"
	Complete   Event = "all fetched"
)

// Transition is one arrow of the state machine.
type Transition struct {
	From Phase
	On   Event
	To   Phase
}

// Transitions is the whole state machine: no other change of the phase happens.
// The diagram in luod/states.md and the list of places where tests kill luod are made
// from it.
var Transitions = []Transition{
	{Idle, Triggered, Checking},
	{Restoring, Triggered, Checking},
	{Checking, Checked, Preparing},
	{Preparing, Prepared, Packing},
	{Packing, Packed, Committed},
	{Packing, PackedFast, Stopping},
	{Stopping, Stopped, Committed},
	{Checking, TakenBack, Idle},
	{Checking, Resumed, Restoring},
	{Preparing, TakenBack, Idle},
	{Preparing, Resumed, Restoring},
	{Packing, TakenBack, Idle},
	{Stopping, TakenBack, Idle},
	{Committed, TakenBack, Idle},
	{Committed, Jumped, Restoring},
	{Idle, Jumped, Restoring}, // as the next kernel's luod has it, whose record begins anew
	{Restoring, Complete, Idle},
}

// After returns where on leads to from a phase, and false if nowhere.
func After(from Phase, on Event) (Phase, bool) {
	for _, t := range Transitions {
		if t.From == from && t.On == on {
			return t.To, true
		}
	}
	return from, false
}
