// Package protocol is what the guest agent and package machine say to each other: JSON, one message a line, over the
// virtio-serial port named [Port].
package protocol

// Port is the name of the virtio-serial port.
const Port = "org.luod.lab"

// MaxOutput bounds what the agent keeps of a script's stdout and of its stderr.
const MaxOutput = 4 << 20

// Boot is the agent's first line in each boot. An empty line goes before it, which ends what the boot before may have
// left half-written.
type Boot struct {
	Event   string  `json:"event"` // "boot"
	Kernel  string  `json:"kernel"`
	BootID  string  `json:"boot_id"`
	Uptime  float64 `json:"uptime"`
	Systemd string  `json:"systemd"`
}

// Request asks the agent to run a script with /bin/sh. The agent drops a request for another boot than its own: one
// that was on its way when the guest left that boot.
type Request struct {
	ID      uint64  `json:"id"`
	BootID  string  `json:"boot_id"`
	Script  string  `json:"script"`
	Timeout float64 `json:"timeout"` // seconds
}

// Answer is how a script ended.
type Answer struct {
	ID     uint64 `json:"id"`
	Code   int    `json:"code"` // the exit status, or 128 and the signal's number
	Stdout string `json:"stdout"`
	Stderr string `json:"stderr"`
	Error  string `json:"error,omitempty"` // why the script did not run, or not to its end
}
