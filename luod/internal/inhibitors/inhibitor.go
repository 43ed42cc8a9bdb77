package inhibitors

import (
	"time"
	"unicode"
	"unicode/utf8"
)

// Mode is what a lock does.
type Mode string

// The modes. Only logind has BlockWeak (systemd ≥ 257), which does not bind its
// own user or root.
const (
	Block     Mode = "block"
	Delay     Mode = "delay"
	BlockWeak Mode = "block-weak"
)

// LiveUpdate is the one thing that can be locked here.
const LiveUpdate = "live-update"

// maxText bounds Who and Why, in bytes.
const maxText = 256

// Inhibitor is one lock.
type Inhibitor struct {
	// ID is unique among the locks of a Set, and 0 for logind's.
	ID   uint64 `json:"id"`
	What string `json:"what"`
	// Who and Why are what the owner says of itself, for people.
	Who  string `json:"who"`
	Why  string `json:"why"`
	Mode Mode   `json:"mode"`
	UID  uint32 `json:"uid"`
	PID  uint32 `json:"pid"`
	// Unit is empty where the owner is in no unit.
	Unit string `json:"unit"`
	// Since is when it was taken by the wall clock, and zero for logind's.
	Since time.Time `json:"since"`
}

// check says what is wrong with a request for a lock.
func (i *Inhibitor) check() error {
	switch {
	case i.What != LiveUpdate:
		return refuse(BadRequest, "%q can't be inhibited here: ask for %q", i.What, LiveUpdate)
	case i.Mode != Block && i.Mode != Delay:
		return refuse(BadRequest, "there is no mode %q: take %q or %q", i.Mode, Block, Delay)
	}
	for field, text := range map[string]string{"who": i.Who, "why": i.Why} {
		if len(text) == 0 || len(text) > maxText || !printable(text) {
			return refuse(BadRequest, "%s must be 1 to %d bytes of printable UTF-8", field, maxText)
		}
	}
	return nil
}

func printable(text string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
