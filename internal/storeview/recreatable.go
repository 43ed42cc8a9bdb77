package storeview

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"
)

// The kinds of what can be made anew on the other side, as Recreate= names them.
const (
	Files   = "files"
	Sockets = "sockets"
)

// ErrNotRecreated is why something is made anew by nobody.
var ErrNotRecreated = errors.New("it is of no kind that can be made anew")

// Recreatable returns the kind that s is of as far as PID 1's word tells, or why it
// can't be made anew; the rest is found out by who has the descriptor.
func (s Stored) Recreatable() (kind string, err error) {
	switch s.Type {
	case unix.S_IFSOCK:
		return Sockets, nil
	case unix.S_IFREG:
		// Of a file that is called so in truth as well: to be careful costs less.
		if strings.HasSuffix(s.Path, " (deleted)") {
			return "", errors.New("it is deleted")
		}
		return Files, nil
	}
	return "", ErrNotRecreated
}
