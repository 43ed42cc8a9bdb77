package coordinator

import (
	"time"

	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/barrier"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/record"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// Status is what anybody may know.
type Status struct {
	Phase phase.Phase `json:"phase"`
	// Generation counts the live updates since the last cold boot.
	Generation uint64 `json:"generation"`
	Kernel     string `json:"kernel"`
	// Unsupported is empty if this kernel can do live updates, else why not.
	Unsupported string `json:"unsupported"`
	// Degraded is empty, or says what keeps luod from an update.
	Degraded string         `json:"degraded"`
	Warning  string         `json:"warning"`
	Loaded   *record.Loaded `json:"loaded"`
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
