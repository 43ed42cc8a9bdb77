package unitpath

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/liveupdate/luod/internal/unitsection"
)

// Mentioning returns what unit files and directories of drop-ins below dirs that
// contain word are called, without the ".d" of a directory; each once. What can't be
// read, PID 1 can't read either.
func Mentioning(dirs []string, word string) []string {
	var names []string
	note := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if name, is := strings.CutSuffix(e.Name(), ".d"); is && (name == "service" || strings.HasSuffix(name, ".service")) {
				dropIns, _ := filepath.Glob(filepath.Join(path, "*.conf"))
				if slices.ContainsFunc(dropIns, func(p string) bool { return contains(p, word) }) {
					note(name)
				}
			} else if strings.HasSuffix(e.Name(), ".service") && contains(path, word) {
				note(e.Name())
			}
		}
	}
	return names
}

func contains(path, word string) bool {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return false // /dev/null, among others
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, unitsection.MaxFile))
	return err == nil && bytes.Contains(data, []byte(word))
}

// Covers says whether a file or a directory of drop-ins of that name may be a
// service's: by its name, its template's, a part of either up to a dash, or the
// type's (systemd.unit(5)). It may say so of too many.
func Covers(name, service string) bool {
	if name == service || name == "service" {
		return true
	}
	prefix := strings.TrimSuffix(name, ".service")
	return strings.HasSuffix(prefix, "-") && strings.HasPrefix(service, prefix) ||
		strings.HasSuffix(prefix, "@") && (strings.HasPrefix(service, prefix) || strings.HasSuffix(prefix, "-@") && strings.HasPrefix(service, strings.TrimSuffix(prefix, "@")))
}
