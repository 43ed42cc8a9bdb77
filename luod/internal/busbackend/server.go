package busbackend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/loading"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/kexec/verdict"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/inhibitors"
	"github.com/liveupdate/luod/luod/internal/nextkernel"
	"github.com/liveupdate/luod/luod/internal/quota"
	"github.com/liveupdate/luod/luod/internal/record"
	"golang.org/x/sys/unix"
)

// Registry is what calls are about; *coordinator.Coordinator is one.
type Registry interface {
	Preserve(ctx context.Context, unit string, names []string, files []*os.File) error
	Release(ctx context.Context, unit string, names []string) error
	Retrieve(ctx context.Context, unit string, names []string) (holdings.Fetch, error)
	Fetched(ctx context.Context, unit string, names []string) error
	Own(ctx context.Context, unit string) ([]holdings.Held, error)
	List(ctx context.Context) ([]holdings.Held, error)
	Status(ctx context.Context) (coordinator.Status, error)
	Entries(ctx context.Context) ([]loading.Entry, error)
	Check(ctx context.Context, request nextkernel.Request) (verdict.Report, error)
	Load(ctx context.Context, request nextkernel.Request) (record.Loaded, verdict.Report, error)
	Unload(ctx context.Context) error
	UnloadOwn(ctx context.Context) (release string, err error)
	LiveUpdate(ctx context.Context, options record.Options) (uint64, error)
	Cancel(ctx context.Context, reason string) error
	Register(ctx context.Context, unit string, r record.Registration) error
	Unregister(ctx context.Context, unit string) error
	Ready(ctx context.Context, unit string) error
	Fail(ctx context.Context, unit, reason string) error
	Remind(ctx context.Context) error
	Discard(ctx context.Context, unit string, names []string) error
	Stakes(ctx context.Context) (holdings.Stakes, error)
	DiscardAll(ctx context.Context) (holdings.Stakes, error)
	Report(ctx context.Context, generation uint64) (string, error)
	CreateSession(ctx context.Context, unit, name string) (*os.File, error)
	RetrieveSession(ctx context.Context, unit, name string) (*os.File, error)
	ReleaseSession(ctx context.Context, unit, name string) error
}

// Locks is what Server wants of *inhibitors.Set.
type Locks interface {
	Add(i inhibitors.Inhibitor) (*os.File, error)
	List() []inhibitors.Inhibitor
}

// Server answers on the socket. Set Registry before Serve; Changed, Announce and Inhibitors
// may be called before.
type Server struct {
	Registry Registry
	Log      *slog.Logger
	// Unit finds the unit behind a pidfd, which it borrows.
	Unit func(pidfd int) (string, error)
	// Peer says whether the process behind a pidfd, which it borrows, may speak for the
	// bus. Root may in any case: it is luoctl where there is no bus.
	Peer func(pidfd int) error
	// Vouch is peers.Vouch, by whoever may look at the process that is the bus. It is
	// asked only where the bus doesn't give a pidfd of who calls.
	Vouch func(ctx context.Context, bus, pid uint32) error
	// Locks are the inhibitors that are taken here, and Logind returns logind's.
	Locks  Locks
	Logind func(ctx context.Context) ([]inhibitors.Inhibitor, error)
	// Bin takes what nobody wants.
	Bin *foreign.Bin
	// Meter counts the calls of each unit, or user.
	Meter quota.Meter

	// vouching is held while Vouch runs, and newCalls counts how often it does for a
	// unit.
	vouching sync.Mutex
	newCalls quota.Meter

	wait sync.WaitGroup

	news news
}

// Group may connect to the socket beside root: it is luod-bus's.
const Group = "luod-bus"

// Listen makes the socket at path in place of a dead one, for root alone. The listener is
// to be given to Serve.
func Listen(path string) (*net.UnixListener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := listenPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Open has the group gid connect to the socket at path.
func Open(path string, gid int) error {
	err := unix.Fchownat(unix.AT_FDCWD, path, 0, gid, unix.AT_SYMLINK_NOFOLLOW) // as luod.service lets it
	if err == nil {
		err = os.Chmod(path, 0o660)
	}
	if err != nil {
		return fmt.Errorf("open %s to the group %d: %w", path, gid, err)
	}
	return nil
}

// maxLinks bounds the connections: luod-bus has one, and may have a second when it has
// been killed a moment ago; root's luoctl has others where there is no bus.
const maxLinks = 16

// Serve answers until ctx ends. It owns the listener.
func (s *Server) Serve(ctx context.Context, l *net.UnixListener) {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	defer l.Close()
	slots := make(chan struct{}, maxLinks)
	for {
		conn, err := l.AcceptUnix()
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
		select {
		case slots <- struct{}{}:
		default:
			conn.Close()
			continue
		}
		s.wait.Add(1)
		go func() {
			defer func() { <-slots; s.wait.Done() }()
			s.converse(ctx, conn, accepted)
		}()
	}
}

// converse answers on one connection until it ends.
func (s *Server) converse(ctx context.Context, conn *net.UnixConn, accepted time.Duration) {
	life := ctx
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if err := s.admit(conn, accepted); err != nil {
		s.Log.Warn("somebody who may not speak for the bus has connected", "error", err)
		conn.Close()
		return
	}
	socket := buslink.Accepted(conn)
	defer socket.Close()
	stop := context.AfterFunc(ctx, socket.Close)
	defer stop()
	told := s.news.count()
	status, err := s.Registry.Status(ctx)
	if err != nil {
		return
	}
	l := &link{Server: s, socket: socket, ctx: ctx, life: life, bytes: maxBytes, freed: make(chan struct{}, 1)}
	s.news.begin(l.outbox(), status, told)
	defer s.news.end(l.outbox())
	go l.tell()
	l.listen()
}

// admit returns an error unless the peer may speak for the bus.
func (s *Server) admit(conn *net.UnixConn, accepted time.Duration) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var pidfd int
	var pidErr error
	if err := raw.Control(func(fd uintptr) { pidfd, pidErr = peers.OfAccepted(int(fd), accepted) }); err != nil {
		return err
	}
	if pidErr != nil {
		return pidErr
	}
	defer closeFD(pidfd)
	if isRoot(pidfd) {
		return nil
	}
	return s.Peer(pidfd)
}
