package report

import (
	"encoding/json"
	"fmt"
	"os"
)

// Note writes r to path, for a luod that is restarted in this boot.
func Note(path string, r *Report) error {
	data, err := json.Marshal(r)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what came through live update %d: %w", r.Generation, err)
	}
	return nil
}

// Noted returns what Note wrote, or nil if there is nothing of that generation.
func Noted(path string, generation uint64) *Report {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	r := new(Report)
	if json.Unmarshal(data, r) != nil || r.Generation != generation {
		return nil
	}
	return r
}
