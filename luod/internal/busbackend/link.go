package busbackend

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
)

const (
	// maxCalls bounds the calls of one connection that are under way, and maxBytes their
	// length together: then nothing more is read until one is answered.
	maxCalls = 512
	maxBytes = 2 << 20
)

// link is one connection of luod-bus.
type link struct {
	*Server
	socket *buslink.Socket
	// ctx ends with the connection, and life with luod: what was called is done whether or
	// not anybody hears of it.
	ctx, life context.Context
	box       outbox
	// telling is held while what is in the box is sent, in order.
	telling sync.Mutex

	mu sync.Mutex
	// under counts the calls under way, and bytes is how long further ones may be.
	under, bytes int
	freed        chan struct{}
}

func (l *link) outbox() *outbox { return &l.box }

// listen takes calls until the connection ends.
func (l *link) listen() {
	for {
		m, descriptors, err := l.socket.Receive()
		if err != nil {
			l.Bin.Close(descriptors...)
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) && !errors.Is(err, syscall.ECONNRESET) {
				l.Log.Warn("luod-bus said something strange", "error", err)
			}
			return
		}
		if m.Emitted > 0 {
			l.news.emitted(m.Emitted)
			continue
		}
		if !l.enter(m.Size()) {
			l.Bin.Close(descriptors...)
			return
		}
		l.wait.Add(1)
		go func() {
			defer l.wait.Done()
			defer l.leave(m.Size())
			l.answer(m, descriptors)
		}()
	}
}

// enter waits until there is room for a call.
func (l *link) enter(size int) bool {
	for {
		l.mu.Lock()
		if l.under == 0 || l.under < maxCalls && l.bytes >= size {
			l.under++
			l.bytes -= size
			l.mu.Unlock()
			return true
		}
		l.mu.Unlock()
		select {
		case <-l.freed:
		case <-l.ctx.Done():
			return false
		}
	}
}

func (l *link) leave(size int) {
	l.mu.Lock()
	l.under--
	l.bytes += size
	l.mu.Unlock()
	select {
	case l.freed <- struct{}{}:
	default:
	}
}

// request is one call of luod-bus.
type request struct {
	*link
	method string
	from   *buslink.Caller
	// pidfd is of the caller's process, or -1.
	pidfd int
	// given are the other descriptors: whoever takes them sets it to nil.
	given     []foreign.Descriptor
	names     []string
	arguments json.RawMessage
}

// answer performs a call and owns its descriptors.
func (l *link) answer(m buslink.Message, descriptors []foreign.Descriptor) {
	r := &request{link: l, method: m.Method, from: m.Caller, pidfd: -1, given: descriptors, names: m.Names, arguments: m.Arguments}
	if r.from != nil && r.from.Process && len(descriptors) > 0 {
		r.given = descriptors[1:]
		if isPidfd(descriptors[0]) {
			r.pidfd = int(descriptors[0])
		}
		defer l.Bin.Close(descriptors[0])
	}
	defer func() { l.Bin.Close(r.given...) }()
	result, files, err := r.perform()
	reply := buslink.Message{Number: m.Number}
	if names, are := result.(buslink.Names); are {
		reply.Names = names.Names
	} else if err == nil && result != nil {
		reply.Result, err = json.Marshal(result)
	}
	if err == nil && len(files) > buslink.MaxDescriptors {
		err = tooManyAtOnce(len(files))
	}
	if err != nil {
		reply.Error = named(err)
	}
	// Who has the answer sees what it has come to.
	told := l.tellAll()
	var fds []int
	if err == nil {
		for _, f := range files {
			fds = append(fds, int(f.Fd()))
		}
	}
	if told == nil {
		told = l.socket.Send(reply, fds...)
	}
	if err := told; err != nil && l.ctx.Err() == nil {
		l.Log.Warn("luod-bus has gone away before an answer; what was asked for stays here", "method", m.Method, "error", err)
	}
	for _, f := range files {
		f.Close()
	}
}

// decode reads the arguments.
func (r *request) decode(to any) error {
	if err := json.Unmarshal(r.arguments, to); err != nil {
		return badRequest(err)
	}
	return nil
}

// isPidfd says whether d is one. It asks no file system, which may be anybody's: this call
// looks first at what kind of file it is (kernel/signal.c: pidfd_send_signal), and a luod-bus
// that is somebody else's by now may send anything.
func isPidfd(d foreign.Descriptor) bool {
	err := unix.PidfdSendSignal(int(d), 0, nil, 0)
	return err == nil || err == unix.EPERM || err == unix.ESRCH
}

func closeFD(fd int) { _ = unix.Close(fd) }

// listenPrivately has nobody connect before the socket's mode is set.
func listenPrivately(path string) (*net.UnixListener, error) {
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	return net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
}
