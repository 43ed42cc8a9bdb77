package record

import (
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
)

// Loaded is the kernel that the next update boots.
type Loaded struct {
	Target  kexec.Target `json:"target"`
	Release string       `json:"release"`
	// Digest is the SHA-256 of what was loaded.
	Digest string `json:"digest"`
	// Generation is the one that the command line announces.
	Generation uint64 `json:"generation"`
	// Overridden are the checks that were allowed to fail.
	Overridden []string `json:"overridden,omitempty"`
	// Known are the results of the checks when it was loaded.
	Known []verdict.Result `json:"known,omitempty"`
	// Proof tells whether it is still what is loaded, in this boot.
	Proof *loading.Proof `json:"proof,omitempty"`
}
