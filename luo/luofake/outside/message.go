package outside

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// question is what a driver asks, or that the system jumps.
type question struct {
	Do      string
	Request uint   `json:",omitempty"`
	Arg     []byte `json:",omitempty"`
	// CommandLine is the next kernel's.
	CommandLine string `json:",omitempty"`
}

// What is asked.
const (
	present = "present"
	open    = "open"
	ioctl   = "ioctl"
	name    = "name"
	jump    = "jump"
)

type answer struct {
	Errno syscall.Errno `json:",omitempty"`
	OK    bool          `json:",omitempty"`
	Name  string        `json:",omitempty"`
	Arg   []byte        `json:",omitempty"`
	Error string        `json:",omitempty"`
}

// largest bounds a message, in bytes.
const largest = 4096

// send borrows the descriptors.
func send(c *net.UnixConn, m any, fds ...int) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	_, _, err = c.WriteMsgUnix(data, rights, nil)
	return err
}

// receive returns descriptors that the caller owns.
func receive(c *net.UnixConn, m any) ([]*os.File, error) {
	data, rights := make([]byte, largest), make([]byte, unix.CmsgSpace(2*4))
	n, nr, flags, _, err := c.ReadMsgUnix(data, rights)
	if err != nil {
		return nil, err
	}
	files, err := parse(rights[:nr])
	if err == nil && flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		err = fmt.Errorf("a message is too long")
	}
	if err == nil {
		err = json.Unmarshal(data[:n], m)
	}
	if err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

func parse(rights []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		fds, e := unix.ParseUnixRights(&messages[i])
		if e != nil {
			err = e
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "luofake"))
		}
	}
	return files, err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
