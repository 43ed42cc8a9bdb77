// Package logind is what luod and luod-logind say to each other: a verb as the program's
// argument, and a JSON answer on standard output.
package logind

// The verbs.
const (
	// Inhibitors are to be listed: those against a shutdown.
	Inhibitors = "inhibitors"
	// Reboot by kexec is to be begun.
	Reboot = "reboot"
	// Preparing asks whether logind is about to shut down.
	Preparing = "preparing"
	// Watch is answered when logind has said for a while that it isn't any more.
	Watch = "watch"
)

// Lock is one of logind's inhibitors, as ListInhibitors tells (org.freedesktop.login1(5)).
type Lock struct {
	What, Who, Why, Mode string
	UID, PID             uint32
}

// Answer is what came of it.
type Answer struct {
	Inhibitors []Lock `json:"inhibitors,omitempty"`
	// Preparing says that logind is about to shut down.
	Preparing bool `json:"preparing,omitempty"`
	// NoLogind says why there is none: nothing was begun.
	NoLogind string `json:"noLogind,omitempty"`
	// Refused is logind's own word: nothing was begun.
	Refused string `json:"refused,omitempty"`
	// Unclear says why nobody knows whether anything was begun.
	Unclear string `json:"unclear,omitempty"`
}
