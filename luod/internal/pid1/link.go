package pid1

import (
	"context"
	"fmt"
	"sync"

	"github.com/coreos/go-systemd/v22/dbus"

	"github.com/liveupdate/luod/internal/storeview"
)

// link is a connection to PID 1's own socket. Each costs PID 1 some 10 ms on a slow
// machine, so that those who ask often share one while somebody holds it; and PID 1
// tells each of every change, so that nobody keeps one that isn't needed.
type link[T connection] struct {
	dial func(context.Context) (T, error)
	// turn is a lock that is waited for no longer than a context lasts.
	turn  chan struct{}
	held  int
	users int
	open  bool
	conn  T
}

type connection interface {
	Close()
	Connected() bool
}

func newLink[T connection](dial func(context.Context) (T, error)) *link[T] {
	return &link[T]{dial: dial, turn: make(chan struct{}, 1)}
}

var (
	manager = newLink(dbus.NewSystemdConnectionContext)
	viewer  = newLink(storeview.View)
)

// Hold makes what follows share connections to PID 1, until it is released, once.
func (Units) Hold() (release func()) {
	m, v := manager.hold(), viewer.hold()
	return func() { m(); v() }
}

func connected(ctx context.Context, f func(*dbus.Conn) error) error {
	conn, done, err := manager.get(ctx)
	if err != nil {
		return fmt.Errorf("connect to PID 1: %w", err)
	}
	defer done()
	return f(conn)
}

// dump is [storeview.Viewer.Dump].
func dump(ctx context.Context, units []string) (map[string][]storeview.Stored, error) {
	if len(units) == 0 {
		return map[string][]storeview.Stored{}, nil
	}
	v, done, err := viewer.get(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	return v.Dump(ctx, units...)
}

// managerProperty is one of PID 1's own. go-systemd asks for those without a context,
// and the connection may last; what waits then ends with it.
func managerProperty(ctx context.Context, conn *dbus.Conn, name string) (string, error) {
	type answer struct {
		text string
		err  error
	}
	answers := make(chan answer, 1)
	go func() {
		text, err := conn.GetManagerProperty(name)
		answers <- answer{text, err}
	}()
	select {
	case a := <-answers:
		return a.text, a.err
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

func (l *link[T]) hold() (release func()) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	l.held++
	return sync.OnceFunc(func() { l.leave(&l.held) })
}

// leave closes the connection when nobody needs it any more.
func (l *link[T]) leave(count *int) {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if *count--; l.held == 0 && l.users == 0 {
		l.close()
	}
}

func (l *link[T]) close() {
	if l.open {
		l.conn.Close()
		l.open = false
	}
}

// get returns the shared connection, or one for the caller alone where nobody holds it.
// One that PID 1 has closed, as it does when it is executed anew, is replaced.
func (l *link[T]) get(ctx context.Context) (conn T, done func(), err error) {
	select {
	case l.turn <- struct{}{}:
	case <-ctx.Done():
		return conn, nil, context.Cause(ctx)
	}
	if l.held == 0 {
		<-l.turn
		if conn, err = l.dial(ctx); err != nil {
			return conn, nil, err
		}
		return conn, conn.Close, nil
	}
	defer func() { <-l.turn }()
	if l.open && !l.conn.Connected() {
		l.close()
	}
	if !l.open {
		if l.conn, err = l.lasting(ctx); err != nil {
			return conn, nil, err
		}
		l.open = true
	}
	l.users++
	return l.conn, sync.OnceFunc(func() { l.leave(&l.users) }), nil
}

// lasting connects for longer than ctx, which ends only the wait for it.
func (l *link[T]) lasting(ctx context.Context) (conn T, err error) {
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, end)
	conn, err = l.dial(life)
	if err == nil && !stop() {
		conn.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		end()
	}
	return conn, err
}
