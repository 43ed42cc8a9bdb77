package fdstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// ErrBundleFull says that a bundle's socket buffer takes no more messages: put
// the rest into a new bundle. Nothing of the refused message was stored.
var ErrBundleFull = errors.New("the bundle is full")

// Item is one descriptor in a bundle with what has to be known about it.
type Item struct {
	Owner string `json:"owner"`
	Name  string `json:"name"`
	// Serial orders the items of one owner; a later Serial came later.
	Serial uint64 `json:"serial"`

	File *os.File `json:"-"`
}

// Bundle is the writing end of a socket pair whose queue holds descriptors: the
// reading end, once pushed into the fd store, keeps everything queued alive
// without this process. A descriptor in flight costs PID 1 nothing. Closing a
// Bundle loses nothing that is queued while the reading end lives.
type Bundle struct {
	w *os.File
}

// NewBundle makes an empty bundle and returns the reading end too, which the
// caller owns: push it into the store, then close it.
func NewBundle() (*Bundle, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a bundle: %w", err)
	}
	return &Bundle{w: os.NewFile(uintptr(fds[0]), "bundle-writer")}, os.NewFile(uintptr(fds[1]), "bundle-reader"), nil
}

// Add borrows the items' files and queues duplicates, at most MaxPerMessage of
// them in one indivisible message: after a kill either all are in or none is.
func (b *Bundle) Add(items []Item) error {
	if len(items) == 0 || len(items) > MaxPerMessage {
		return fmt.Errorf("add %d file descriptors to a bundle: between 1 and %d fit into a message", len(items), MaxPerMessage)
	}
	var meta bytes.Buffer
	encoder := json.NewEncoder(&meta)
	encoder.SetEscapeHTML(false) // six bytes for one would outgrow a message
	if err := encoder.Encode(items); err != nil {
		return fmt.Errorf("describe the items of a bundle: %w", err)
	}
	fds := make([]int, len(items))
	for i, it := range items {
		fds[i] = int(it.File.Fd())
	}
	var err error
	for {
		_, err = unix.SendmsgN(int(b.w.Fd()), meta.Bytes(), unix.UnixRights(fds...), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	runtime.KeepAlive(items)
	switch err {
	case nil:
		return nil
	case unix.EAGAIN, unix.ENOBUFS:
		return ErrBundleFull
	case unix.ETOOMANYREFS:
		return fmt.Errorf("add %d file descriptors to a bundle: %w: root has more descriptors in flight than RLIMIT_NOFILE allows; raise LimitNOFILE= of luod.service", len(items), err)
	}
	return fmt.Errorf("add %d file descriptors to a bundle: %w", len(items), err)
}

// Close gives up the writing end only.
func (b *Bundle) Close() error { return b.w.Close() }

// ReadBundle borrows the reading end and returns duplicates of everything
// queued without emptying the queue (MSG_PEEK with SO_PEEK_OFF, socket(7)), so
// that a kill during or after it loses nothing. The caller owns the files.
func ReadBundle(r *os.File) (items []Item, err error) {
	defer func() {
		if err != nil {
			for _, it := range items {
				it.File.Close()
			}
			items = nil
		}
		runtime.KeepAlive(r)
	}()
	fd := int(r.Fd())
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PEEK_OFF, 0); err != nil {
		return nil, fmt.Errorf("read a bundle: set SO_PEEK_OFF: %w", err)
	}
	// Names are at most MaxNameLength bytes each, and JSON adds less than
	// that again.
	meta := make([]byte, MaxPerMessage*3*MaxNameLength)
	oob := make([]byte, unix.CmsgSpace(MaxPerMessage*4))
	for {
		n, oobn, flags, _, err := unix.Recvmsg(fd, meta, oob, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN || (err == nil && n == 0 && oobn == 0) {
			return items, nil
		}
		if err != nil {
			return items, fmt.Errorf("read a bundle: %w", err)
		}
		files := Received(oob[:oobn])
		var part []Item
		if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			err = errors.New("a message was cut short")
		} else if err = json.Unmarshal(meta[:n], &part); err == nil && len(part) != len(files) {
			err = fmt.Errorf("a message describes %d file descriptors and carries %d", len(part), len(files))
		}
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return items, fmt.Errorf("read a bundle: %w", err)
		}
		for i := range part {
			part[i].File = files[i]
		}
		items = append(items, part...)
	}
}
