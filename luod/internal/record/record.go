package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/liveupdate/luod/internal/atomicfile"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// Record is what a restarted luod has to know of its predecessor in the same
// boot. It lies in /run, so a new boot starts without one. It is written before
// the step it announces; a step announced and not done is undone.
type Record struct {
	Phase      phase.Phase `json:"phase"`
	Generation uint64      `json:"generation"`
	OldKernel  string      `json:"oldKernel"`
	Loaded     *Loaded     `json:"loaded"`
	Degraded   string      `json:"degraded"`
	Warning    string      `json:"warning"`
	Waiting    []string    `json:"waiting"`
	Fetched    []string    `json:"fetched"`
	// Released are files that units gave up before they had fetched all, by unit:
	// they are still in their sessions and must not come back from there.
	Released map[string][]string `json:"released,omitempty"`
	// GivenUp are the units that do without what could not be restored.
	GivenUp []string `json:"givenUp,omitempty"`
	// Renamed says what units of the manifest are called now, and Moving whose files
	// are on their way from one to another.
	Renamed   map[string]string `json:"renamed,omitempty"`
	Moving    map[string]string `json:"moving,omitempty"`
	Lost      []restorer.Loss   `json:"lost"`
	TimeLine  []manifest.Mark   `json:"timeLine"`
	LastError string            `json:"lastError"`
	// Registered are the services that take part, and Asked those that were told
	// of the update under way; nil means that nobody was told anything.
	Registered map[string]Registration `json:"registered,omitempty"`
	Asked      []string                `json:"asked"`
	Schedule   *Schedule               `json:"schedule,omitempty"`
	LeftBehind []manifest.LeftBehind   `json:"leftBehind,omitempty"`
	// Sessions are those that units fill and empty themselves, and SessionCount
	// how many were made.
	Sessions     []Delegated `json:"sessions,omitempty"`
	SessionCount uint64      `json:"sessionCount,omitempty"`
	// Stopped is what ran before services were stopped for a fast jump, and has
	// to run again if it doesn't happen.
	Stopped []string `json:"stopped,omitempty"`
	// Copied is what luod has copied of the fd stores of units, and Back the names of
	// what PID 1 was seen to have again of them since.
	Copied map[string]Copied   `json:"copied,omitempty"`
	Back   map[string][]string `json:"back,omitempty"`
	// Turned are the units that asked while nobody knew what they have here.
	Turned []string `json:"turned,omitempty"`
	// Hooked says that hooks were told of the update under way, and Owed is what
	// they are still to be told.
	Hooked bool   `json:"hooked,omitempty"`
	Owed   []Owed `json:"owed,omitempty"`
}

// Copied is what was in a unit's fd store when it was copied: luod's names of it, and the
// start (InvocationID) of the unit that it was of.
type Copied struct {
	Start string   `json:"start"`
	Names []string `json:"names,omitempty"`
}

// And is what was copied of the same start before, too, with names, of the start now.
func (c Copied) And(start string, names []string) Copied {
	if start != "" && c.Start == start {
		names = slices.Concat(names, c.Names)
		slices.Sort(names)
		names = slices.Compact(names)
	}
	return Copied{start, names}
}

// Read returns nil without an error if there is no record.
func Read(path string) (*Record, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the record of this boot: %w", err)
	}
	r := new(Record)
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("read the record of this boot %s: %w", path, err)
	}
	return r, nil
}

// Write replaces the record in one step; a kill leaves the old one or the new. It
// returns what it wrote, and does nothing if that is the same as last time.
func (r *Record) Write(path string, last []byte) ([]byte, error) {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the record of this boot: %w", err)
	}
	if bytes.Equal(data, last) {
		return last, nil
	}
	if err := atomicfile.Write(path, data, 0o600); err != nil {
		return nil, fmt.Errorf("write the record of this boot: %w", err)
	}
	return data, nil
}
