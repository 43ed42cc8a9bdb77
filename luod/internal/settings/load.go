package settings

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// directories are systemd's, the strongest first (systemd-system.conf(5)).
var directories = []string{"/etc/luod", "/run/luod", "/usr/local/lib/luod", "/usr/lib/luod"}

// Load reads the files in the system below root, and returns with the settings
// what is wrong in them.
func Load(root string) (Settings, []error) {
	s := Default()
	var problems []error
	for _, path := range files(root) {
		data, err := os.ReadFile(path)
		if err != nil {
			problems = append(problems, fmt.Errorf("read the settings: %w", err))
			continue
		}
		problems = append(problems, s.read(path, data)...)
	}
	return s, problems
}

// files lists the first luod.conf there is and then the drop-ins by name, each in
// its strongest place; an empty one or a link to /dev/null hides others.
func files(root string) []string {
	var list []string
	for _, dir := range directories {
		path := filepath.Join(root, dir, "luod.conf")
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			list = append(list, path)
			break
		}
	}
	dropIns := map[string]string{}
	var names []string
	for _, dir := range directories {
		entries, _ := os.ReadDir(filepath.Join(root, dir, "luod.conf.d"))
		for _, e := range entries {
			if name := e.Name(); strings.HasSuffix(name, ".conf") && !strings.HasPrefix(name, ".") && dropIns[name] == "" {
				dropIns[name] = filepath.Join(root, dir, "luod.conf.d", name)
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	for _, name := range names {
		list = append(list, dropIns[name])
	}
	return list
}

func (s *Settings) read(path string, data []byte) (problems []error) {
	sections, err := unit.DeserializeSections(bytes.NewReader(data))
	if err != nil {
		return []error{fmt.Errorf("%s: %w", path, err)}
	}
	for _, section := range sections {
		for _, e := range section.Entries {
			value := strings.TrimSpace(e.Value)
			if value == "" {
				continue
			}
			known, err := s.set(section.Section, e.Name, value)
			switch {
			case err != nil:
				problems = append(problems, fmt.Errorf("%s: %s=%s: %w; it has no effect", path, e.Name, value, err))
			case !known:
				problems = append(problems, fmt.Errorf("%s: there is no %s= in [%s]; it has no effect", path, e.Name, section.Section))
			}
		}
	}
	return problems
}
