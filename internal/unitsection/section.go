package unitsection

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/liveupdate/luod/internal/storeview"
	"github.com/liveupdate/luod/internal/timespan"
)

// Name is the section's name.
const Name = "X-LiveUpdate"

// File is a unit file or a drop-in.
type File struct {
	Path string
	Data []byte
}

// Section is what a unit says.
type Section struct {
	// Answers says that the unit calls Ready over D-Bus (Preserve=dbus, or session
	// for one that also fills sessions of its own).
	Answers bool
	// Store says that the unit's fd store comes along, and nobody has to be asked
	// (Preserve=fdstore).
	Store bool
	// Directories are packed when the unit has stopped, and put back before it starts
	// (Directories=).
	Directories []string
	// Recreate are the kinds of what no kernel carries that are made anew
	// (Recreate=): storeview.Files and storeview.Sockets.
	Recreate []string
	// Timeout is 0 where the unit leaves it to luod (TimeoutSec=).
	Timeout time.Duration
	// Optional lets an update go on without the unit (OnFailure=ignore).
	Optional bool
	// Verify has the SHA-256 of what is sealed against writing compared
	// (Verify=sha256).
	Verify bool
	// Aliases are what the unit was called before: what luod has of a unit of that
	// name which is no longer there is this one's (Aliases=).
	Aliases []string
	// After and Before name units that are prepared earlier or later.
	After, Before []string
	// StoreMax is the unit's FileDescriptorStoreMax= by its files, if they set one, which
	// PID 1 may not have read yet. Parse leaves it out.
	StoreMax *uint32
}

// Problem is what is wrong in a file.
type Problem struct {
	Path string
	Line int
	Text string
}

func (p *Problem) Error() string { return fmt.Sprintf("%s:%d: %s", p.Path, p.Line, p.Text) }

// Parse reads a unit's files in systemd's order: the unit file, then the drop-ins,
// of which later ones override single values and add to lists; an empty value
// resets either. It returns nil if none has the section. Unknown keys are warned
// of; the error joins a *Problem for each value that is wrong.
func Parse(name string, files []File) (*Section, []*Problem, error) {
	d := &Section{}
	found := false
	var recreate *Problem // where it is asked for
	var warnings []*Problem
	var wrong []error
	for _, f := range files {
		if !bytes.Contains(f.Data, []byte(Name)) {
			continue // most of them; others need not be understood here
		}
		sections, err := unit.DeserializeSections(bytes.NewReader(f.Data))
		if err != nil {
			wrong = append(wrong, &Problem{f.Path, 1, err.Error()})
			continue
		}
		lines := linesOf(string(f.Data))
		for _, s := range sections {
			if s.Section != Name {
				continue
			}
			found = true
			for _, e := range s.Entries {
				line := 0
				if at := lines[e.Name]; len(at) > 0 {
					line, lines[e.Name] = at[0], at[1:]
				}
				// The library leaves continued lines as they are.
				e.Value = strings.ReplaceAll(e.Value, "\\\n", " ")
				known, err := d.set(name, e.Name, strings.TrimSpace(e.Value))
				switch {
				case err != nil:
					wrong = append(wrong, &Problem{f.Path, line, fmt.Sprintf("%s=%s: %v", e.Name, e.Value, err)})
				case e.Name == "Recreate":
					recreate = &Problem{f.Path, line, fmt.Sprintf("Recreate=%s: it is for what is in the fd store, and Preserve= has no fdstore", e.Value)}
				case !known:
					warnings = append(warnings, &Problem{f.Path, line, fmt.Sprintf("unknown key %s= in [%s], ignoring", e.Name, Name)})
				}
			}
		}
	}
	// What it names would be lost without a word.
	if recreate != nil && len(d.Recreate) > 0 && !d.Store {
		wrong = append(wrong, recreate)
	}
	if len(wrong) > 0 {
		return nil, warnings, errors.Join(wrong...)
	}
	if !found {
		return nil, warnings, nil
	}
	return d, warnings, nil
}

// linesOf finds the line of each assignment in the section, by key and in order.
func linesOf(text string) map[string][]int {
	lines := map[string][]int{}
	inside, continued := false, false
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		start := !continued
		comment := line == "" || line[0] == '#' || line[0] == ';'
		// A comment within a continued value does not end it (systemd.syntax(7)).
		continued = strings.HasSuffix(line, `\`) && !comment || continued && comment
		switch {
		case !start || comment:
		case line[0] == '[':
			inside = line == "["+Name+"]"
		case inside:
			if key, _, ok := strings.Cut(line, "="); ok {
				key = strings.TrimSpace(key)
				lines[key] = append(lines[key], n)
			}
		}
	}
	return lines
}

func (d *Section) set(name, key, value string) (known bool, err error) {
	switch key {
	case "Preserve":
		if value == "" {
			d.Answers, d.Store = false, false
		}
		for _, one := range strings.Fields(value) {
			switch one {
			case "dbus", "session":
				d.Answers = true
			case "fdstore":
				d.Store = true
			default:
				return true, fmt.Errorf("%q is none of dbus, fdstore and session", one)
			}
		}
	case "TimeoutSec":
		d.Timeout = 0
		if value != "" {
			d.Timeout, err = timespan.Parse(value)
		}
	case "OnFailure":
		if value != "" && value != "abort" && value != "ignore" {
			return true, errors.New("it is abort or ignore")
		}
		d.Optional = value == "ignore"
	case "Directories":
		if value == "" {
			d.Directories = nil
		}
		for _, path := range strings.Fields(value) {
			if !directory().MatchString(path) || path != filepath.Clean(path) {
				return true, fmt.Errorf("%q is no path of a directory such as /run/memcached", path)
			}
			if !slices.Contains(d.Directories, path) {
				d.Directories = append(d.Directories, path)
			}
		}
	case "Recreate":
		if value == "" {
			d.Recreate = nil
		}
		for _, one := range strings.Fields(value) {
			if one != storeview.Files && one != storeview.Sockets {
				return true, fmt.Errorf("%q is none of files and sockets", one)
			}
			if !slices.Contains(d.Recreate, one) {
				d.Recreate = append(d.Recreate, one)
			}
		}
	case "Verify":
		if value != "" && value != "none" && value != "sha256" {
			return true, errors.New("it is none or sha256")
		}
		d.Verify = value == "sha256"
	case "Aliases":
		d.Aliases, err = list(name, d.Aliases, value)
	case "After":
		d.After, err = list(name, d.After, value)
	case "Before":
		d.Before, err = list(name, d.Before, value)
	default:
		return false, nil
	}
	return true, err
}

// list adds to a list of units as systemd does.
func list(name string, have []string, value string) ([]string, error) {
	if value == "" {
		return nil, nil
	}
	for _, one := range strings.Fields(value) {
		switch {
		case !ValidUnit(one):
			return have, fmt.Errorf("%q is no name of a service", one)
		case one == name:
			return have, errors.New("that is the unit itself")
		case !slices.Contains(have, one):
			have = append(have, one)
		}
	}
	return have, nil
}

// directory is an absolute path of characters that can stand in the name of a file
// descriptor, too. Few services have one, and luod has to start quickly.
var directory = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(/[A-Za-z0-9_.@+,=-]+)+$`) })

// ValidUnit says whether name can be a service's: systemd takes at most 255
// characters of these (systemd.unit(5)).
func ValidUnit(name string) bool {
	stem, is := strings.CutSuffix(name, ".service")
	return is && stem != "" && len(name) <= 255 && strings.Trim(stem, unitCharacters) == ""
}

// unitCharacters are VALID_CHARS of systemd (src/basic/unit-name.c).
const unitCharacters = `abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\@-`
