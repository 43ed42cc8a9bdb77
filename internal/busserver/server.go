package busserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/liveupdate/luod/internal/busconn"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/foreign"
	"golang.org/x/sys/unix"
)

// Server serves org.luod.LiveUpdate1.
type Server struct {
	Log *slog.Logger
	// Bin takes the descriptors that nobody wants.
	Bin *foreign.Bin
	// Luod connects to luod.
	Luod func() (*buslink.Socket, error)
	// Bus connects to the bus, as [busconn.Dial].
	Bus func(ctx context.Context, handle func(*busconn.Conn, *busconn.Message)) (*busconn.Conn, error)
	// Limits bounds what each user may send; zero means DefaultLimits.
	Limits Limits
}

const (
	// retry is how soon a lost or missing bus or luod is tried again, at first and at most.
	retryFirst, retryMost = 5 * time.Millisecond, 250 * time.Millisecond
	// maxRefusals bounds the refusals that wait to be sent.
	maxRefusals = 256
	// firstNews bounds the wait for luod's status.
	firstNews = 30 * time.Second
)

var (
	errBusLost  = errors.New("the connection to the bus was lost")
	errNotOwner = errors.New("another process owns it")
)

// Serve has the name on the bus as long as there is a luod and a bus, until ctx ends. What
// is missing is tried again, quietly.
func (s *Server) Serve(ctx context.Context) {
	pause, said := retryFirst, ""
	for ctx.Err() == nil {
		began := time.Now()
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(began) > time.Second {
			pause, said = retryFirst, ""
		}
		if text := err.Error(); text != said {
			s.Log.Info("not on the bus; trying again until it works", "reason", text)
			said = text
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMost)
	}
}

// serve has the name until luod or the bus is lost. They are given up together: whoever
// called gets no answer from the bus then, and what luod has told is not known to have
// been heard, so that it is told again.
func (s *Server) serve(ctx context.Context) error {
	socket, err := s.Luod()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := &news{more: make(chan struct{}, 1), first: make(chan struct{})}
	link := buslink.NewLink(socket, s.Bin, n.add)
	defer link.Close()
	select {
	case <-n.first:
	case <-link.Done():
		return buslink.ErrLost
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(firstNews):
		return errors.New("luod does not tell its status")
	}
	v := &serving{Server: s, link: link, news: n, ctx: ctx, admission: newAdmission(s.Limits), refusals: make(chan busconn.Header, maxRefusals)}
	defer v.callers.close()
	defer v.calls.Wait()
	defer cancel()
	conn, err := s.Bus(ctx, v.handle)
	if err != nil {
		return err
	}
	defer conn.Close()
	v.begin(conn)
	if err := v.takeName(conn); err != nil {
		return err
	}
	s.Log.Info("on the bus", "name", Name)
	// Who was told over a bus that is gone may not have heard it.
	if _, err := link.Ask(ctx, buslink.Opened, nil, nil, nil); err != nil {
		return err
	}
	emitted := make(chan error, 1)
	go func() { emitted <- v.emit() }()
	select {
	case <-conn.Done():
		return errBusLost
	case <-link.Done():
		return buslink.ErrLost
	case err := <-emitted:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ServePeer serves a single client on conn, which nobody but this process can have connected
// to, as if it had called over a bus as this process; without one, that is. It returns when
// the client hangs up, luod is lost, or ctx ends.
func (s *Server) ServePeer(ctx context.Context, conn *net.UnixConn) error {
	defer conn.Close()
	socket, err := s.Luod()
	if err != nil {
		return err
	}
	pidfd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		socket.Close()
		return fmt.Errorf("open this process: %w", err)
	}
	who := &identity{uid: uint32(os.Getuid()), pid: uint32(os.Getpid()), pidfd: pidfd}
	defer who.close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := &news{more: make(chan struct{}, 1), first: make(chan struct{})}
	link := buslink.NewLink(socket, s.Bin, n.add)
	defer link.Close()
	if err := busconn.Admit(conn); err != nil {
		return err
	}
	v := &serving{Server: s, link: link, news: n, ctx: ctx, peer: who, admission: newAdmission(s.Limits), refusals: make(chan busconn.Header, maxRefusals)}
	defer v.calls.Wait()
	defer cancel()
	client := busconn.New(conn, s.Bin, v.handle)
	defer client.Close()
	v.begin(client)
	select {
	case <-client.Done():
		return nil
	case <-link.Done():
		return buslink.ErrLost
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Flags and answers of RequestName (D-Bus specification).
const (
	doNotQueue   = uint32(4)
	primaryOwner = uint32(1)
	alreadyOwner = uint32(4)
)

func (v *serving) takeName(conn *busconn.Conn) error {
	reply, err := conn.Call(v.ctx, busconn.Bus, "RequestName", Name, doNotQueue)
	var got uint32
	if err == nil {
		err = reply.Store(&got)
	}
	if err == nil && got != primaryOwner && got != alreadyOwner {
		err = errNotOwner
	}
	if err != nil {
		return fmt.Errorf("take the name %s: %w", Name, err)
	}
	return nil
}

// serving is one connection to the bus with one to luod.
type serving struct {
	*Server
	link      *buslink.Link
	news      *news
	ctx       context.Context
	admission *admission
	callers   callers
	// peer is who calls if there is no bus, which would tell; else nil.
	peer *identity
	// calls are under way.
	calls sync.WaitGroup

	// refusals are calls that are to be refused.
	refusals chan busconn.Header

	once sync.Once
	conn *busconn.Conn

	fdsOnce sync.Once
	fds     int
}

// begin notes the connection; the first message may be there before Bus returns.
func (v *serving) begin(conn *busconn.Conn) {
	v.once.Do(func() {
		v.conn = conn
		go v.refuseAll()
	})
}
