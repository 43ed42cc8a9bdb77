package barrier

import "time"

// Member is a service that takes part.
type Member struct {
	Unit string
	// Timeout is how long the service may take from its turn on.
	Timeout time.Duration
	// Optional says that the update goes on without it if it fails
	// (OnFailure=ignore).
	Optional bool
	// Answers says that the service calls Ready itself. One that doesn't is
	// ready when its turn comes.
	Answers bool
	// After and Before name members whose preparation comes earlier or later.
	// Names of others mean nothing.
	After, Before []string
}

// State is where one service stands.
type State string

// The states of a service. Ready and Failed are final, except that a ready
// service may still fail until the barrier is passed.
const (
	Waiting   State = "waiting"   // for others that come first
	Preparing State = "preparing" // it is its turn
	Ready     State = "ready"
	Failed    State = "failed"
)

// Standing is a service's state as others see it.
type Standing struct {
	Unit  string
	State State
	// Reason says why it failed.
	Reason string
	// Deadline is when its turn ends, zero if it isn't its turn.
	Deadline time.Time
}

// Verdict is what the barrier says of the update.
type Verdict int

// The verdicts. A refusal is final.
const (
	Closed  Verdict = iota // somebody isn't ready yet
	Passed                 // everybody is ready or left behind
	Refused                // somebody who is needed failed
)
