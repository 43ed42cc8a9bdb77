package fdstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// Received returns the descriptors of a control message (SCM_RIGHTS, unix(7)),
// which the caller owns. Every one is collected before anything can go wrong, so
// that no return path leaves one behind; a message that isn't of descriptors
// has none.
func Received(oob []byte) []*os.File {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files
}
