package record

import "time"

// Registration is what a service asked for by Register.
type Registration struct {
	// Timeout is how long it may take from its turn on to say Ready; 0 leaves it
	// to the unit file, or else to luod.
	Timeout time.Duration `json:"timeout"`
	// Optional lets the update go on without it if it fails, whatever the unit
	// file says.
	Optional bool `json:"optional,omitempty"`
	// After and Before name units that are prepared earlier or later.
	After  []string `json:"after,omitempty"`
	Before []string `json:"before,omitempty"`
	// Invocation is the start of the unit that registered; empty if PID 1 did not say.
	Invocation string `json:"invocation,omitempty"`
}
