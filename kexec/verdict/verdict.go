package verdict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/liveupdate/luod/kexec"
)

// Verdict is how a check ended.
type Verdict string

const (
	OK   Verdict = "ok"
	Warn Verdict = "warn"
	Fail Verdict = "fail"
)

// Result is what one check found.
type Result struct {
	Name    string  `json:"name"`
	Verdict Verdict `json:"verdict"`
	// Reason says what was found, Remedy what to do unless it is ok.
	Reason string `json:"reason"`
	Remedy string `json:"remedy,omitempty"`
	// Lasting says that it follows from the target's files alone, and holds as long as
	// they have the digest.
	Lasting bool `json:"lasting,omitempty"`
}

// Report is what all checks found of a target.
type Report struct {
	Target kexec.Target `json:"target"`
	// Release is the target's uname -r, Digest the SHA-256 of what would be
	// loaded; both are empty if its image can't be read.
	Release string   `json:"release"`
	Digest  string   `json:"digest"`
	Results []Result `json:"results"`
}

// Names are all checks, in the order of a report.
func Names() []string {
	return []string{
		"live-update-enabled", "kexec-allowed", "kernel-image", "kernel-config", "handover-format", "command-line", "initrd",
		"modules", "signature", "memory", "root-device", "luod-after-jump", "unchanged",
	}
}

// ValidNames refuses what is no check's name.
func ValidNames(names []string) error {
	for _, name := range names {
		if !slices.Contains(Names(), name) {
			return fmt.Errorf("%q is no check; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	return nil
}

// Refused returns the failed checks that are not in overridden.
func (r Report) Refused(overridden []string) []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(c Result) bool {
		return c.Verdict != Fail || slices.Contains(overridden, c.Name)
	})
}
