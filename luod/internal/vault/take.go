package vault

import (
	"os"

	"github.com/liveupdate/luod/internal/foreign"
)

// Take makes files of what was handed over under names, if all of it is of a kind that
// Add may take, and owns none of it on an error. Whatever is done with the files then
// waits for no file system. It belongs outside of every lock all the same.
func Take(names []string, list []foreign.Descriptor) ([]*os.File, error) {
	for i, d := range list {
		if _, err := sealsOf(d); err != nil {
			name := ""
			if i < len(names) {
				name = names[i]
			}
			return nil, inCall(i, name, err)
		}
	}
	files := make([]*os.File, len(list))
	for i, d := range list {
		files[i] = os.NewFile(uintptr(d), "handed-over")
	}
	return files, nil
}
