package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/manifest"
	"github.com/liveupdate/luod/luod/internal/restorer"
)

// maxHistory is how many reports are kept.
const maxHistory = 32

// Report is what became of everything in one update.
type Report struct {
	Generation uint64       `json:"generation"`
	OldKernel  string       `json:"oldKernel"`
	Kernel     string       `json:"kernel"`
	Files      []ReportFile `json:"files"`
	// Complete says that every unit has fetched what was its own.
	Complete   bool                  `json:"complete"`
	LeftBehind []manifest.LeftBehind `json:"leftBehind"`
	TimeLine   []manifest.Mark       `json:"timeLine"`
}

// ReportFile is what became of one descriptor.
type ReportFile struct {
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

// recreated is an outcome, and becoming what it is until it is true.
const (
	recreated = "re-created"
	becoming  = "to be re-created"
)

// compose makes the report of what the restorer found.
func compose(m *manifest.Manifest, kernel string, lost []restorer.Loss, changed ...restorer.Change) *Report {
	r := &Report{Generation: m.Generation, OldKernel: m.OldKernel, Kernel: kernel, Files: []ReportFile{}}
	for _, u := range m.Units {
		for _, f := range u.Files {
			file := ReportFile{Unit: u.Name, Name: f.Name, Size: f.Size, Verified: f.SHA256 != "", Outcome: "preserved"}
			// The size is the description's, which is nobody's.
			switch {
			case entryname.Recreated(f.Name):
				file.Size, file.Verified, file.Outcome = 0, false, recreated
			case entryname.Same(f.Name):
				file.Size, file.Verified, file.Shared = 0, false, true
			}
			r.Files = append(r.Files, file)
		}
		for _, s := range u.Sessions {
			r.Files = append(r.Files, ReportFile{Unit: u.Name, Name: s.Name, Outcome: "preserved", Session: true})
		}
	}
	for _, n := range m.Native {
		for _, name := range n.Names {
			r.Files = append(r.Files, ReportFile{Unit: n.Unit, Name: name, Outcome: unaccounted, Carrier: byPID1})
		}
	}
	for i, f := range r.Files {
		if at := slices.IndexFunc(lost, func(l restorer.Loss) bool { return l.Unit == f.Unit && l.Name == f.Name }); at >= 0 {
			r.Files[i].Outcome, r.Files[i].Reason, r.Files[i].Verified = "lost", lost[at].Reason, false
		}
		if at := slices.IndexFunc(changed, func(c restorer.Change) bool { return c.Unit == f.Unit && c.Name == f.Name }); at >= 0 {
			r.Files[i].Reason = changed[at].Note
		}
	}
	return r
}

// reportLocked adds what the record knows of the last update.
func (c *Coordinator) reportLocked(r *Report) *Report {
	full := *r
	full.Files = slices.Clone(r.Files)
	full.Complete = c.allFetchedLocked()
	full.LeftBehind = append([]manifest.LeftBehind{}, c.rec.LeftBehind...)
	full.TimeLine = slices.Clone(c.rec.TimeLine)
	full.Files = slices.Clone(r.Files)
	for i, f := range full.Files {
		if f.Outcome == recreated && (!slices.Contains(c.rec.Fetched, f.Unit) || slices.Contains(c.rec.Released[f.Unit], f.Name)) {
			full.Files[i].Outcome = becoming
		}
	}
	return &full
}

// recentPath is where the report of this boot's update lies, as it was when
// everything was restored.
func (c *Coordinator) recentPath() string {
	return filepath.Join(filepath.Dir(c.Record), "report.json")
}

// noteReportLocked writes it down for a luod that is restarted.
func (c *Coordinator) noteReportLocked(r *Report) {
	c.recent = r
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(c.recentPath(), data, 0o600)
	}
	if err != nil {
		c.Log.Warn("could not note what came through the live update", "error", err)
	}
}

func (c *Coordinator) readReportLocked() {
	data, err := os.ReadFile(c.recentPath())
	if err != nil {
		return
	}
	r := new(Report)
	if json.Unmarshal(data, r) == nil && r.Generation == c.rec.Generation {
		c.recent = r
	}
}

// archiveLocked keeps the report of a complete update where it outlives the next, and
// forgets the oldest. The disk may be slow, so it does that on its own.
func (c *Coordinator) archiveLocked() {
	if c.recent == nil || c.History == "" {
		return
	}
	r, dir := c.reportLocked(c.recent), c.History
	c.background.Go(func() {
		if err := keepReport(dir, r); err != nil {
			c.Log.Warn("could not keep the report of the live update", "error", err)
		}
	})
}

func reportPath(dir string, generation uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%08d.json", generation))
}

// keepReport replaces a report of that generation: after a cold boot the count
// begins anew.
func keepReport(dir string, r *Report) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".report-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), reportPath(dir, r.Generation))
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return prune(dir)
}

// prune removes all but the latest reports, by their age.
func prune(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var infos []fs.FileInfo
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.HasSuffix(e.Name(), ".json") {
			infos = append(infos, info)
		}
	}
	slices.SortFunc(infos, func(a, b fs.FileInfo) int { return b.ModTime().Compare(a.ModTime()) })
	for _, info := range infos[min(len(infos), maxHistory):] {
		if err := os.Remove(filepath.Join(dir, info.Name())); err != nil {
			return err
		}
	}
	return nil
}

// Report returns the report of an update in JSON, of the last one if generation is
// 0.
func (c *Coordinator) Report(ctx context.Context, generation uint64) (string, error) {
	unlock, err := c.lock(ctx)
	if err != nil {
		return "", err
	}
	var r *Report
	if c.recent != nil && (generation == 0 || generation == c.recent.Generation) {
		r = c.reportLocked(c.recent)
	}
	unlock()
	if r != nil {
		data, err := json.Marshal(r)
		return string(data), err
	}
	if generation == 0 {
		return "", fault.New(errorname.NoReport, "this boot is no live update; name an earlier one of %s", list(c.History))
	}
	data, err := os.ReadFile(reportPath(c.History, generation))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(errorname.NoReport, "there is no report of live update %d, only of %s", generation, list(c.History))
	}
	if err != nil {
		return "", fault.New(errorname.NoReport, "read the report: %w", err)
	}
	return string(data), nil
}

// list says which reports there are.
func list(dir string) string {
	entries, _ := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if n, err := strconv.ParseUint(strings.TrimSuffix(e.Name(), ".json"), 10, 64); err == nil {
			names = append(names, fmt.Sprint(n))
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
