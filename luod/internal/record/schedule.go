package record

import "time"

// Schedule is an update that is to begin later.
type Schedule struct {
	// At is by the wall clock, and follows it when it is set.
	At      time.Time `json:"at"`
	Options Options   `json:"options"`
}

// Options of a live update.
type Options struct {
	// Verify takes the SHA-256 of every file that is sealed against writing
	// and compares it in the new kernel.
	Verify bool
	// DryRun does all checks and no more.
	DryRun bool
	// NoBlock returns as soon as the update has begun.
	NoBlock bool
	// Override are the names of preflight checks that may fail.
	Override []string
	// When is when it shall begin; zero means now.
	When time.Time `json:"-"`
	// IgnoreInhibitors goes on in spite of them.
	IgnoreInhibitors bool
	// Fast jumps as soon as those who take part have stopped, and leaves others
	// running until then.
	Fast bool
	// Message is told to whoever is logged in, unless NoWall, and to the log.
	Message string
	NoWall  bool
}
