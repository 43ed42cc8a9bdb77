package sdnotify

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/scmrights"
)

// ErrNoManager says that no service manager listens: $NOTIFY_SOCKET is unset.
var ErrNoManager = errors.New("no service manager: $NOTIFY_SOCKET is not set")

// MaxNameLength bounds an entry's name (systemd: FDNAME_MAX in
// src/basic/fd-util.h, checked by fdname_is_valid).
const MaxNameLength = 255

// Manager is the store of the unit that this process runs in. It is safe for
// concurrent use: every message is one system call on a socket of its own.
type Manager struct {
	address string
}

// New finds the service manager through $NOTIFY_SOCKET and leaves the variable
// as it is. Without one it returns ErrNoManager.
func New() (*Manager, error) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil, ErrNoManager
	}
	if address[0] != '/' && address[0] != '@' {
		return nil, fmt.Errorf("use $NOTIFY_SOCKET=%q: only AF_UNIX paths and abstract names are supported", address)
	}
	return &Manager{address: address}, nil
}

// Push borrows files and stores a duplicate of each under name. FDPOLL=0 keeps
// PID 1 from dropping an entry on EPOLLHUP, which a bundle gives as soon as its
// writer is gone. PID 1 takes the message some time later: see Barrier.
func (m *Manager) Push(name string, files ...*os.File) error {
	if err := CheckName(name); err != nil {
		return err
	}
	for len(files) > 0 {
		n := min(len(files), scmrights.Max)
		if err := m.send("FDSTORE=1\nFDPOLL=0\nFDNAME="+name, files[:n]...); err != nil {
			return fmt.Errorf("push %d file descriptors %q into the fd store: %w", n, name, err)
		}
		files = files[n:]
	}
	return nil
}

// Remove drops every entry stored under name; it is no error if there is none.
func (m *Manager) Remove(name string) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := m.send("FDSTOREREMOVE=1\nFDNAME=" + name); err != nil {
		return fmt.Errorf("remove %q from the fd store: %w", name, err)
	}
	return nil
}

// Notify sends a plain state such as READY=1 or STATUS=….
func (m *Manager) Notify(state string) error {
	if err := m.send(state); err != nil {
		return fmt.Errorf("notify the service manager: %w", err)
	}
	return nil
}

// Barrier returns when PID 1 has processed everything sent before, or with the
// context's error (sd_notify_barrier(3): PID 1 closes the pipe it is sent).
func (m *Manager) Barrier(ctx context.Context) error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("wait for the service manager: make a pipe: %w", err)
	}
	defer r.Close()
	err = m.send("BARRIER=1", w)
	w.Close()
	if err != nil {
		return fmt.Errorf("wait for the service manager: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		r.SetReadDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { r.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := r.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		if ctx.Err() != nil {
			return fmt.Errorf("wait for the service manager to take the file descriptors: %w", ctx.Err())
		}
		return fmt.Errorf("wait for the service manager to take the file descriptors: %w", context.DeadlineExceeded)
	}
	return nil
}

// sendTimeout is how long a message may wait until PID 1 has room for it; tests have less
// patience.
var sendTimeout = 20 * time.Second

func (m *Manager) send(state string, files ...*os.File) error {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make a socket: %w", err)
	}
	defer unix.Close(fd)
	// A PID 1 that reads nothing any more would hold the sender up for ever.
	patience := unix.NsecToTimeval(sendTimeout.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience); err != nil {
		return fmt.Errorf("bound the wait for the service manager: %w", err)
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	for {
		// A connected socket would do for text, but PID 1 identifies the
		// sender by the credentials of each message either way.
		err = unix.Sendmsg(fd, []byte(state), rights, &unix.SockaddrUnix{Name: m.address}, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			break
		}
	}
	runtime.KeepAlive(files)
	if err == unix.EAGAIN {
		return fmt.Errorf("the service manager has not read its messages for %s: %w", sendTimeout, err)
	}
	return err
}

// CheckName refuses what PID 1 would refuse, or worse, silently rename to
// "stored" (systemd: fdname_is_valid in src/basic/fd-util.c): it takes 1 to 255
// bytes of printable ASCII without a colon, which separates $LISTEN_FDNAMES.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("the name of a file descriptor is empty")
	case len(name) > MaxNameLength:
		return fmt.Errorf("the name of a file descriptor has %d bytes: at most %d are allowed", len(name), MaxNameLength)
	}
	if i := strings.IndexFunc(name, func(r rune) bool { return r < ' ' || r >= 127 || r == ':' }); i >= 0 {
		return fmt.Errorf("the name %q of a file descriptor has a forbidden character at byte %d: printable ASCII without ':' is allowed", name, i)
	}
	return nil
}
