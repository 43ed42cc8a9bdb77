package report

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/atomicfile"
)

// History is the directory of the reports of earlier updates; an empty one keeps none.
type History string

// maxHistory is how many reports are kept.
const maxHistory = 32

func (h History) path(generation uint64) string {
	return filepath.Join(string(h), fmt.Sprintf("%08d.json", generation))
}

// Keep replaces a report of that generation, and forgets the oldest ones: after a cold
// boot the count begins anew.
func (h History) Keep(r *Report) error {
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("keep the report of live update %d: %w", r.Generation, err)
	}
	if err := os.MkdirAll(string(h), 0o700); err != nil {
		return fmt.Errorf("keep the report of live update %d: %w", r.Generation, err)
	}
	if err := atomicfile.WriteDurable(h.path(r.Generation), data, 0o600); err != nil {
		return fmt.Errorf("keep the report of live update %d: %w", r.Generation, err)
	}
	return h.prune()
}

// prune removes all but the latest reports, by their age.
func (h History) prune() error {
	entries, err := os.ReadDir(string(h))
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
		if err := os.Remove(filepath.Join(string(h), info.Name())); err != nil {
			return fmt.Errorf("forget the oldest reports: %w", err)
		}
	}
	return nil
}

// Read returns the report of an update in JSON, as it was written. The error is
// fs.ErrNotExist's if there is none.
func (h History) Read(generation uint64) (string, error) {
	data, err := os.ReadFile(h.path(generation))
	return string(data), err
}

// String says of which updates there are reports.
func (h History) String() string {
	entries, _ := os.ReadDir(string(h))
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
