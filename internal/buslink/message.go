package buslink

import "encoding/json"

// Message is one in either direction: a call of luod-bus with a Method, an answer of luod
// with the number of the call, or news of luod, which is a Status or a Signal.
type Message struct {
	// Number is the call's.
	Number uint64 `json:"number,omitempty"`

	Method string  `json:"method,omitempty"`
	Caller *Caller `json:"caller,omitempty"`
	// Names are the arguments of methods that take some, and all that many return; others
	// have Arguments, and return a Result.
	Names     []string        `json:"names,omitempty"`
	Arguments json.RawMessage `json:"arguments,omitempty"`

	Error  *Error          `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`

	Status *Status `json:"status,omitempty"`
	Signal *Signal `json:"signal,omitempty"`
	// Emitted is luod-bus's word that all signals up to this number are on the bus.
	Emitted uint64 `json:"emitted,omitempty"`

	size int
}

// Size is how long a message was that has been received, in bytes.
func (m Message) Size() int { return m.size }

// Caller is whose call is passed on. The first descriptor of the message is a pidfd of the
// process that made the connection to the bus, if Process says so; who else it might be
// nobody is believed.
type Caller struct {
	Process bool `json:"process,omitempty"`
	// UID is the user as whom it made the connection, by the bus's own look (SO_PEERCRED),
	// and PID the process then, for people to see.
	UID uint32 `json:"uid"`
	PID uint32 `json:"pid,omitempty"`
	// Unidentified is why there is no Process: an old bus does not tell.
	Unidentified *Error `json:"unidentified,omitempty"`
	// Allowed are the polkit actions that polkit has said yes to for this call.
	Allowed []string `json:"allowed,omitempty"`
}

// Error is a refusal: the whole name of a D-Bus error, and a text fit for a terminal.
type Error struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// Signal is to be sent on the bus: PrepareForLiveUpdate or Cancelled.
type Signal struct {
	// Number is greater than that of every signal before.
	Number uint64 `json:"number"`
	// Unit is whom it is for, or empty if it is for everybody.
	Unit       string `json:"unit,omitempty"`
	Start      bool   `json:"start,omitempty"`
	Generation uint64 `json:"generation"`
	// Deadline is in µs of CLOCK_MONOTONIC, or 0.
	Deadline uint64 `json:"deadline,omitempty"`
	Reason   string `json:"reason,omitempty"`
}
