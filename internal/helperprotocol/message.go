package helperprotocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/scmrights"
)

// Path is where luod listens.
const Path = "/run/luod/luod.sock"

// Requests and their answers. Every answer has Error set or not.
const (
	// Retrieve asks for all the caller's descriptors. The answer comes in as
	// many messages as it takes; after the last the caller says Fetched.
	Retrieve = "retrieve"
	// Fetched says that Names have arrived where they belong.
	Fetched = "fetched"
	// Adopt hands over what was taken out of the fd store of Unit. Only the program
	// that luod had PID 1 start for that may say it.
	Adopt = "adopt"
	// Forgo says that the entries Names of Unit's fd store can't be made anew, each
	// for its reason in Reasons. It is refused unless the update may go on without.
	Forgo = "forgo"
	// Hold asks for all sessions of the next kernel. Only the program that holds them
	// too may say it.
	Hold = "hold"
	// Preserve hands the attached descriptors over under Names.
	Preserve = "preserve"
)

// Reasons of an answer to a process that luod can't tell the unit of: it has none, or
// which process it is can't be found out.
const (
	NoUnit       = "NoUnit"
	Unidentified = "Unidentified"
)

// Message goes either way.
type Message struct {
	Request string   `json:"request,omitempty"`
	Names   []string `json:"names,omitempty"`
	// Unit is whose fd store it is about; in an answer to Retrieve or Hold, who asked.
	Unit    string   `json:"unit,omitempty"`
	Reasons []string `json:"reasons,omitempty"`
	// More says that the list goes on in the next message.
	More  bool   `json:"more,omitempty"`
	Error string `json:"error,omitempty"`
	// Reason is the last part of a D-Bus error name.
	Reason string `json:"reason,omitempty"`
}

// MaxFiles is how many descriptors a message carries: SCM_MAX_FD of the kernel
// (include/net/scm.h) is 253, and names of full length must fit beside them.
const MaxFiles = 200

// maxMessage bounds a message in bytes: MaxFiles names of 255 bytes, escaped.
const maxMessage = 128 << 10

// Send borrows files and sends m with them.
func Send(fd int, m Message, files []*os.File) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(m); err != nil {
		return fmt.Errorf("encode a message: %w", err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	defer runtime.KeepAlive(files)
	for {
		if err := unix.Sendmsg(fd, text.Bytes(), rights, nil, unix.MSG_NOSIGNAL); err != unix.EINTR {
			return err
		}
	}
}

// Receive returns the next message of a friend and its files, which the caller owns;
// io.EOF when the peer is gone.
func Receive(fd int) (Message, []*os.File, error) {
	m, rights, err := receive(fd)
	files := scmrights.Received(rights)
	if err != nil {
		Close(files)
		return Message{}, nil, err
	}
	return m, files, nil
}

// ReceiveForeign returns the next message of whoever it is and its descriptors, which the
// caller owns, also with an error; io.EOF when the peer is gone.
func ReceiveForeign(fd int) (Message, []foreign.Descriptor, error) {
	m, rights, err := receive(fd)
	var list []foreign.Descriptor
	for _, n := range scmrights.Numbers(rights) {
		list = append(list, foreign.Descriptor(n))
	}
	return m, list, err
}

// receive returns the next message and its control message, of which the caller owns the
// descriptors, also with an error.
func receive(fd int) (m Message, rights []byte, err error) {
	text := make([]byte, maxMessage)
	oob := make([]byte, unix.CmsgSpace(256*4))
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, text, oob, unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return m, nil, err
	}
	rights = oob[:oobn]
	switch {
	case n == 0 && oobn == 0:
		return m, nil, io.EOF
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		err = errors.New("a message was cut short")
	default:
		err = json.Unmarshal(text[:n], &m)
	}
	if err != nil {
		return Message{}, rights, fmt.Errorf("read a message: %w", err)
	}
	return m, rights, nil
}

// Close closes files.
func Close(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
