package coordinator

import (
	"time"

	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/kexec"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// Status is what anybody may know.
type Status struct {
	Phase Phase `json:"phase"`
	// Generation counts the live updates since the last cold boot.
	Generation uint64 `json:"generation"`
	Kernel     string `json:"kernel"`
	// Unsupported is empty if this kernel can do live updates, else why not.
	Unsupported string `json:"unsupported"`
	// Degraded is empty, or says what keeps luod from an update.
	Degraded string  `json:"degraded"`
	Warning  string  `json:"warning"`
	Loaded   *Loaded `json:"loaded"`
	// Units and FileDescriptors count what is held, Bytes its size when it was
	// handed over or an update began.
	Units           uint64 `json:"units"`
	FileDescriptors uint64 `json:"fileDescriptors"`
	Bytes           uint64 `json:"bytes"`
	// Waiting are the units that haven't fetched what came through the update.
	Waiting   []string        `json:"waiting"`
	OldKernel string          `json:"oldKernel"`
	Lost      []restorer.Loss `json:"lost"`
	TimeLine  []manifest.Mark `json:"timeLine"`
	LastError string          `json:"lastError"`
	// Services are those that are being prepared, in their order.
	Services []barrier.Standing `json:"services"`
	// Scheduled is when an update is to begin, or zero.
	Scheduled time.Time `json:"scheduled"`
	// LeftBehind are those that the last update went on without.
	LeftBehind []manifest.LeftBehind `json:"leftBehind"`
}

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

// Held is one descriptor as an admin sees it.
type Held struct {
	Unit  string `json:"unit"`
	Name  string `json:"name"`
	Size  uint64 `json:"size"`
	Seals uint32 `json:"seals"`
	// State is "held", "waiting" (came through an update, not fetched yet) or
	// "fetched" (came through an update and was fetched); "session" is a whole
	// session of the unit's, and "session-waiting" one that it has not released.
	State string `json:"state"`
}
