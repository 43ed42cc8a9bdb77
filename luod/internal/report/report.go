package report

import (
	"slices"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// Report is what became of everything in one update.
type Report struct {
	Generation uint64 `json:"generation"`
	OldKernel  string `json:"oldKernel"`
	Kernel     string `json:"kernel"`
	Files      []File `json:"files"`
	// Complete says that every unit has fetched what was its own.
	Complete   bool                  `json:"complete"`
	LeftBehind []manifest.LeftBehind `json:"leftBehind"`
	TimeLine   []manifest.Mark       `json:"timeLine"`
}

// File is what became of one descriptor.
type File struct {
	Unit string `json:"unit"`
	Name string `json:"name"`
	Size int64  `json:"size"`
	// Outcome is "preserved", "re-created" for what no kernel carries and luod-reissue
	// has made anew, "to be re-created" until its unit has it, or "lost" for a Reason.
	// Of what was preserved, Reason is what is not as it was.
	Outcome string `json:"outcome"`
	Reason  string `json:"reason,omitempty"`
	// Verified says that its SHA-256 was compared.
	Verified bool `json:"verified"`
	// Session says that it is a whole session of the unit's own.
	Session bool `json:"session,omitempty"`
	// Carrier is empty for what luod carried, or "PID 1"; then the size is unknown.
	Carrier string `json:"carrier,omitempty"`
	// Shared says that it is one more open file description of a memfd that is
	// another of the unit's files.
	Shared bool `json:"shared,omitempty"`
}

// What becomes of a descriptor (File.Outcome).
const (
	Preserved = "preserved"
	// Recreated is an outcome, and Becoming what it is until it is true.
	Recreated = "re-created"
	Becoming  = "to be re-created"
	Lost      = "lost"
	// Unknown is the outcome of what PID 1 carries until it was looked for.
	Unknown = "unknown"
)

// ByPID1 is the carrier of what PID 1 carries itself.
const ByPID1 = "PID 1"

// Compose makes the report of what the restorer found.
func Compose(m *manifest.Manifest, kernel string, lost []restorer.Loss, changed ...restorer.Change) *Report {
	r := &Report{Generation: m.Generation, OldKernel: m.OldKernel, Kernel: kernel, Files: []File{}}
	for _, u := range m.Units {
		for _, f := range u.Files {
			file := File{Unit: u.Name, Name: f.Name, Size: f.Size, Verified: f.SHA256 != "", Outcome: Preserved}
			// The size is the description's, which is nobody's.
			switch {
			case entryname.Recreated(f.Name):
				file.Size, file.Verified, file.Outcome = 0, false, Recreated
			case entryname.Same(f.Name):
				file.Size, file.Verified, file.Shared = 0, false, true
			}
			r.Files = append(r.Files, file)
		}
		for _, s := range u.Sessions {
			r.Files = append(r.Files, File{Unit: u.Name, Name: s.Name, Outcome: Preserved, Session: true})
		}
	}
	for _, n := range m.Native {
		for _, name := range n.Names {
			r.Files = append(r.Files, File{Unit: n.Unit, Name: name, Outcome: Unknown, Carrier: ByPID1})
		}
	}
	for i, f := range r.Files {
		if at := slices.IndexFunc(lost, func(l restorer.Loss) bool { return l.Unit == f.Unit && l.Name == f.Name }); at >= 0 {
			r.Files[i].Outcome, r.Files[i].Reason, r.Files[i].Verified = Lost, lost[at].Reason, false
		}
		if at := slices.IndexFunc(changed, func(c restorer.Change) bool { return c.Unit == f.Unit && c.Name == f.Name }); at >= 0 {
			r.Files[i].Reason = changed[at].Note
		}
	}
	return r
}
