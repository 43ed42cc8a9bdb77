package inhibitors

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/liveupdate/luod/internal/atomicfile"
)

// The names in the directory: N is the record of the lock N, N.ref its FIFO, and
// what begins with a dot a record that is being written.
const (
	fifoSuffix = ".ref"
	tempPrefix = "."
)

func (s *Set) record(id uint64) string { return filepath.Join(s.dir, strconv.FormatUint(id, 10)) }
func (s *Set) fifo(id uint64) string   { return s.record(id) + fifoSuffix }

// idOf returns which lock a file in the directory belongs to.
func idOf(name string) (uint64, bool) {
	id, err := strconv.ParseUint(strings.TrimSuffix(name, fifoSuffix), 10, 64)
	return id, err == nil && id > 0
}

// write makes the record appear in one step; a kill leaves a temporary file or
// the record.
func (s *Set) write(i Inhibitor) error {
	data, err := json.Marshal(i)
	if err != nil {
		return err
	}
	return atomicfile.Write(s.record(i.ID), data, 0o600)
}

// read returns the record of a lock whose owner is alive. One that can't be read
// counts as a lock all the same: an update that runs into somebody's work is worse
// than one that an admin has to force.
func (s *Set) read(id uint64) Inhibitor {
	var i Inhibitor
	data, err := os.ReadFile(s.record(id))
	if err == nil {
		err = json.Unmarshal(data, &i)
	}
	if err == nil {
		err = i.check()
	}
	if err != nil {
		i = Inhibitor{What: LiveUpdate, Mode: Block, Who: "unknown", Why: fmt.Sprintf("%s can't be read: %v", s.record(id), err)}
	}
	i.ID = id
	return i
}

// forget removes a lock's files. The record goes first: a FIFO without one is
// nobody's lock.
func (s *Set) forget(id uint64) {
	os.Remove(s.record(id))
	os.Remove(s.fifo(id))
}
