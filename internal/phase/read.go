package phase

import (
	"encoding/json"
	"fmt"
	"os"
)

// Record is the path of luod's record of this boot, which luod alone writes.
const Record = "/run/luod/record.json"

// Read returns the phase that the record at path says luod is in. The error is that of
// reading it (fs.ErrNotExist before luod has started in this boot), or of JSON that can't
// be understood.
func Read(path string) (Phase, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read luod's record: %w", err)
	}
	var r struct {
		Phase Phase `json:"phase"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return "", fmt.Errorf("read luod's record %s: %w", path, err)
	}
	return r.Phase, nil
}
