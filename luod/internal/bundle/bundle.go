package bundle

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/scmrights"
)

// ErrFull says that a bundle's socket buffer takes no more messages: put
// the rest into a new bundle. Nothing of the refused message was stored.
var ErrFull = errors.New("the bundle is full")

// ErrManyMessages says that more than one message is needed. Nothing was stored.
var ErrManyMessages = errors.New("the file descriptors and their names don't fit into one message")

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

// New makes an empty bundle and returns the reading end too, which the
// caller owns: push it into the store, then close it.
func New() (*Bundle, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a bundle: %w", err)
	}
	return &Bundle{w: os.NewFile(uintptr(fds[0]), "bundle-writer")}, os.NewFile(uintptr(fds[1]), "bundle-reader"), nil
}

// Add borrows the items' files and queues duplicates of as many as one message
// takes, from the first on. It returns how many that were, and has to be called
// again for the others. A message is indivisible: after a kill either all that is
// in it is queued or nothing.
func (b *Bundle) Add(items []Item) (int, error) {
	for limit := len(items); ; {
		text, n, err := encode(items[:limit])
		if err != nil {
			return 0, fmt.Errorf("add %d file descriptors to a bundle: %w", len(items), err)
		}
		err = b.send(text, items[:n])
		if errors.Is(err, unix.EMSGSIZE) && n > 1 {
			limit = n / 2 // the socket's buffer is smaller than it usually is
			continue
		}
		if err != nil {
			return 0, err
		}
		return n, nil
	}
}

// AddWhole is Add for items that must all be in one message: if that does not take
// them, it is ErrManyMessages, and nothing is queued.
func (b *Bundle) AddWhole(items []Item) error {
	text, n, err := encode(items)
	if err != nil {
		return fmt.Errorf("add %d file descriptors to a bundle: %w", len(items), err)
	}
	if n < len(items) {
		return ErrManyMessages
	}
	err = b.send(text, items)
	if errors.Is(err, unix.EMSGSIZE) && n > 1 {
		return ErrManyMessages
	}
	return err
}

// send queues one message.
func (b *Bundle) send(text []byte, items []Item) error {
	fds := make([]int, len(items))
	for i, it := range items {
		fds[i] = int(it.File.Fd())
	}
	to, rights := int(b.w.Fd()), unix.UnixRights(fds...)
	err := onOthersAccount(func() error {
		for {
			if err := unix.Sendmsg(to, text, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL); err != unix.EINTR {
				return err
			}
		}
	})
	runtime.KeepAlive(b)
	runtime.KeepAlive(items)
	switch err {
	case nil:
		return nil
	case unix.EAGAIN, unix.ENOBUFS:
		return ErrFull
	case unix.ETOOMANYREFS:
		return fmt.Errorf("add %d file descriptors to a bundle: %w: more are in flight than RLIMIT_NOFILE allows; raise LimitNOFILE= of luod.service", len(items), err)
	}
	return fmt.Errorf("add %d file descriptors to a bundle: %w", len(items), err)
}

// Kept says whether somebody has the reading end: with none, nothing of what was
// queued is there any more.
func (b *Bundle) Kept() bool {
	defer runtime.KeepAlive(b)
	poll := []unix.PollFd{{Fd: int32(b.w.Fd())}}
	for {
		n, err := unix.Poll(poll, 0)
		if err != unix.EINTR {
			return err == nil && n == 0 // else POLLHUP
		}
	}
}

// Close gives up the writing end only.
func (b *Bundle) Close() error { return b.w.Close() }

// Read borrows the reading end and returns duplicates of everything
// queued without emptying the queue (MSG_PEEK with SO_PEEK_OFF, socket(7)), so
// that a kill during or after it loses nothing. The caller owns the files.
func Read(r *os.File) (items []Item, err error) {
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
	var text []byte
	oob := make([]byte, unix.CmsgSpace(scmrights.Max*4))
	for {
		// A look at nothing doesn't go on to the next message, and MSG_TRUNC tells
		// the length of this one.
		length, _, _, _, err := unix.Recvmsg(fd, nil, nil, unix.MSG_PEEK|unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN || (err == nil && length == 0) {
			return items, nil
		}
		if err == nil && length > maxMessage {
			err = fmt.Errorf("a message has %d bytes: at most %d are written", length, maxMessage)
		}
		if err != nil {
			return items, fmt.Errorf("read a bundle: %w", err)
		}
		if len(text) < length {
			text = make([]byte, length)
		}
		var n, oobn, flags int
		for {
			n, oobn, flags, _, err = unix.Recvmsg(fd, text, oob, unix.MSG_PEEK|unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
			if err != unix.EINTR {
				break
			}
		}
		if err != nil {
			return items, fmt.Errorf("read a bundle: %w", err)
		}
		files := scmrights.Received(oob[:oobn])
		var part []Item
		if flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
			err = errors.New("a message was cut short")
		} else if err = json.Unmarshal(text[:n], &part); err == nil && len(part) != len(files) {
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

// Drain borrows the reading end and lets go of everything queued, for all who have
// the bundle: nobody will ever read it again. Killed meanwhile, what is left is a
// bundle with fewer messages.
func Drain(r *os.File) error {
	defer runtime.KeepAlive(r)
	for {
		// What comes without room for it is closed by the kernel.
		length, _, _, _, err := unix.Recvmsg(int(r.Fd()), nil, nil, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN || (err == nil && length == 0):
			return nil
		case err != nil:
			return fmt.Errorf("empty a bundle: %w", err)
		}
	}
}
