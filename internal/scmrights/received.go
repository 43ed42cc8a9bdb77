package scmrights

import (
	"os"

	"golang.org/x/sys/unix"
)

// Max is how many descriptors a message takes: SCM_MAX_FD of include/net/scm.h.
const Max = 253

// Received returns the descriptors of a control message (SCM_RIGHTS, unix(7)),
// which the caller owns. Every one is collected before anything can go wrong, so
// that no return path leaves one behind; a message that isn't of descriptors
// has none. It is for what a friend sent: see Numbers.
func Received(oob []byte) []*os.File {
	var files []*os.File
	for _, fd := range Numbers(oob) {
		files = append(files, os.NewFile(uintptr(fd), "received"))
	}
	return files
}

// Numbers is Received for what anybody may have sent: to make a file of a descriptor can
// wait for its file system ([os.NewFile] polls what is O_NONBLOCK).
func Numbers(oob []byte) []int {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var numbers []int
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		numbers = append(numbers, fds...)
	}
	return numbers
}
