package unitsection

import (
	"strconv"
	"strings"
)

// StoreMax returns what FileDescriptorStoreMax= a unit will have when its files are read
// next, and false if they set none. As in systemd the last value counts that can be
// understood, in the order of files (systemd.service(5)).
func StoreMax(files []File) (most uint32, set bool) {
	for _, f := range files {
		section := ""
		for line := range strings.Lines(string(f.Data)) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
				continue
			}
			key, value, is := strings.Cut(line, "=")
			if !is || section != "[Service]" || strings.TrimSpace(key) != "FileDescriptorStoreMax" {
				continue
			}
			if n, err := strconv.ParseUint(strings.TrimSpace(value), 0, 32); err == nil {
				most, set = uint32(n), true
			}
		}
	}
	return most, set
}
