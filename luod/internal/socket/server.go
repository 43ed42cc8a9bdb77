package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/fault"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/vault"
)

// Registry is what stands behind the door; *coordinator.Coordinator is one.
type Registry interface {
	Preserve(ctx context.Context, unit string, names []string, files []*os.File) error
	Adopt(ctx context.Context, caller, unit string, names []string, files []*os.File) error
	Forgo(ctx context.Context, caller, unit string, names, reasons []string) error
	Reissue(ctx context.Context, unit string) (holdings.Fetch, error)
	Fetched(ctx context.Context, unit string, names []string) error
	Sessions(ctx context.Context, caller string) (holdings.Fetch, error)
}

const (
	// requestTimeout bounds the answer to one request.
	requestTimeout = 60 * time.Second
	// idleTimeout bounds how long a helper says nothing between two. What it does
	// meanwhile can take long: it copies a large fd store, or waits for PID 1. Only
	// root can keep a conversation from others by it, with processes that live: one
	// that ends hangs up.
	idleTimeout = 10 * time.Minute
)

// maxConversations bounds how many go on at once.
const maxConversations = 256

// Server answers on the socket.
type Server struct {
	Registry Registry
	Log      *slog.Logger
	// Unit finds the unit behind a pidfd, which it borrows.
	Unit func(pidfd int) (string, error)
	// Bin takes what nobody wants.
	Bin *foreign.Bin

	request, idle time.Duration

	listener *net.UnixListener
	wait     sync.WaitGroup
}

// Listen makes the socket at path, mode 0600, in place of a dead one.
func Listen(path string, registry Registry, bin *foreign.Bin, log *slog.Logger) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	old := syscall.Umask(0o177)
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	syscall.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return &Server{Registry: registry, Log: log, Unit: callers.Unit, Bin: bin, request: requestTimeout, idle: idleTimeout, listener: l}, nil
}

// Serve answers until Close.
func (s *Server) Serve() {
	slots := make(chan struct{}, maxConversations)
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.Log.Error("could not accept a connection", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		accepted, err := peers.Now()
		if err != nil {
			s.Log.Error("could not accept a connection", "error", err)
			conn.Close()
			continue
		}
		slots <- struct{}{}
		s.wait.Add(1)
		go func() {
			defer func() { <-slots; s.wait.Done() }()
			s.converse(conn, accepted)
		}()
	}
}

// Close stops listening and waits for the conversations.
func (s *Server) Close() {
	s.listener.Close()
	s.wait.Wait()
}

func (s *Server) converse(conn *net.UnixConn, accepted time.Duration) {
	// A blocking descriptor of our own, with time-outs: SOCK_SEQPACKET with
	// control messages is simpler without the runtime's poller.
	f, err := conn.File()
	conn.Close()
	if err != nil {
		s.Log.Error("could not take a connection", "error", err)
		return
	}
	defer f.Close()
	fd := int(f.Fd())
	receive, send := unix.NsecToTimeval(int64(s.idle)), unix.NsecToTimeval(int64(s.request))
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receive)
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &send)
	unit, err := s.caller(fd, accepted)
	if err != nil {
		// Who hears nothing before it asks finds a no, and not a conversation that is over
		// before it has begun, which it would begin anew.
		_, given, _ := helperprotocol.ReceiveForeign(fd)
		s.Bin.Close(given...)
		_ = s.refuse(fd, err)
		return
	}
	for {
		m, given, err := helperprotocol.ReceiveForeign(fd)
		if err != nil {
			s.Bin.Close(given...)
			if err != io.EOF && !errors.Is(err, unix.EAGAIN) {
				s.Log.Warn("a helper said something strange", "unit", unit, "error", err)
			}
			return
		}
		if err := s.answer(fd, unit, m, given); err != nil {
			s.Log.Warn("a helper went away", "unit", unit, "error", err)
			return
		}
	}
}

// caller finds the peer's unit. A kernel that can't tell who connected is older than
// LUO: nothing is held for anybody there, and root alone gets here.
func (s *Server) caller(fd int, accepted time.Duration) (string, error) {
	pidfd, err := peers.OfAccepted(fd, accepted)
	if err != nil {
		return "", unidentified{fmt.Errorf("identify the caller: %w", err)}
	}
	defer unix.Close(pidfd)
	return s.Unit(pidfd)
}

// unidentified is why luod can't tell whose process calls.
type unidentified struct{ error }

func (u unidentified) Unwrap() error { return u.error }

// answer owns what was given. The time for it begins with the request: what the helper
// did before it doesn't count.
func (s *Server) answer(fd int, unit string, m helperprotocol.Message, given []foreign.Descriptor) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.request)
	defer cancel()
	switch m.Request {
	case helperprotocol.Adopt:
		return s.take(fd, m.Names, given, func(files []*os.File) error { return s.Registry.Adopt(ctx, unit, m.Unit, m.Names, files) })
	case helperprotocol.Preserve:
		return s.take(fd, m.Names, given, func(files []*os.File) error { return s.Registry.Preserve(ctx, unit, m.Names, files) })
	}
	s.Bin.Close(given...)
	switch m.Request {
	case helperprotocol.Retrieve:
		return s.retrieve(ctx, fd, unit)
	case helperprotocol.Hold:
		fetch, err := s.Registry.Sessions(ctx, unit)
		if err != nil {
			return s.refuse(fd, err)
		}
		return s.give(fd, unit, fetch)
	case helperprotocol.Fetched:
		return s.acknowledge(fd, s.Registry.Fetched(ctx, unit, m.Names))
	case helperprotocol.Forgo:
		return s.acknowledge(fd, s.Registry.Forgo(ctx, unit, m.Unit, m.Names, m.Reasons))
	}
	return s.refuse(fd, fmt.Errorf("unknown request %q", m.Request))
}

// take has what was given taken over by registry, which owns it on success.
func (s *Server) take(fd int, names []string, given []foreign.Descriptor, registry func(files []*os.File) error) error {
	files, err := vault.Take(names, given)
	if err != nil {
		s.Bin.Close(given...)
		return s.refuse(fd, err)
	}
	err = registry(files)
	if err != nil {
		helperprotocol.Close(files)
	}
	return s.acknowledge(fd, err)
}

// acknowledge says yes, or why not.
func (s *Server) acknowledge(fd int, err error) error {
	if err != nil {
		return s.refuse(fd, err)
	}
	return helperprotocol.Send(fd, helperprotocol.Message{}, nil)
}

func (s *Server) retrieve(ctx context.Context, fd int, unit string) error {
	fetch, err := s.Registry.Reissue(ctx, unit)
	if err != nil {
		return s.refuse(fd, err)
	}
	return s.give(fd, unit, fetch)
}

// give sends the files of fetch, and closes them.
func (s *Server) give(fd int, unit string, fetch holdings.Fetch) error {
	defer fetch.Close()
	names, files := fetch.Names, fetch.Files
	for {
		n := min(len(names), helperprotocol.MaxFiles)
		m := helperprotocol.Message{Names: names[:n], Unit: unit, More: n < len(names)}
		if err := helperprotocol.Send(fd, m, files[:n]); err != nil {
			return err
		}
		if !m.More {
			return nil
		}
		names, files = names[n:], files[n:]
	}
}

func (s *Server) refuse(fd int, why error) error {
	m := helperprotocol.Message{Error: why.Error()}
	var refusal *vault.Refusal
	var named *fault.Fault
	switch {
	case errors.As(why, &refusal):
		m.Reason = string(refusal.Reason)
	case errors.As(why, &named):
		m.Reason = named.Name
	case errors.Is(why, callers.ErrNoUnit):
		m.Reason = helperprotocol.NoUnit
	case errors.As(why, new(unidentified)):
		m.Reason = helperprotocol.Unidentified
	}
	return helperprotocol.Send(fd, m, nil)
}
