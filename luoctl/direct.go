package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/printable"
)

// busTimeout bounds the wait for a bus that takes connections and answers nothing, and for
// luod to come when it is called.
const busTimeout = 10 * time.Second

// reach connects to luod over the bus, or, as root, by its own socket where that does not
// work: early at boot, in rescue mode, on a broken bus.
func reach() (*dbus.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), busTimeout)
	defer cancel()
	conn, err := onBus(ctx)
	if os.Geteuid() != 0 {
		return conn, err
	}
	reason := err
	if err == nil {
		reason = callable(ctx, conn)
	}
	if reason == nil {
		return conn, nil
	}
	own, fails := direct()
	switch {
	case fails == nil:
		fmt.Fprintf(os.Stderr, "luoctl: luod can't be reached over the bus (%s); asking by its own socket\n", printable.Line(reason.Error()))
	case err == nil && ctx.Err() == nil:
		return conn, nil // the call itself says what is wrong
	}
	if conn != nil {
		conn.Close()
	}
	if fails != nil {
		return nil, reason
	}
	return own, nil
}

// onBus connects to the system bus.
func onBus(ctx context.Context) (*dbus.Conn, error) {
	type connected struct {
		conn *dbus.Conn
		err  error
	}
	done := make(chan connected, 1)
	go func() {
		conn, err := dbus.ConnectSystemBus()
		done <- connected{conn, err}
	}()
	select {
	case c := <-done:
		if c.err != nil {
			return nil, fmt.Errorf("connect to the system bus: %w: is dbus running?", c.err)
		}
		return c.conn, nil
	case <-ctx.Done():
		return nil, errors.New("connect to the system bus: it does not answer")
	}
}

// callable returns nil if luod is on the bus, where it is started if it is not.
func callable(ctx context.Context, conn *dbus.Conn) error {
	var owned bool
	err := conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.NameHasOwner", 0, busserver.Name).Store(&owned)
	if err == nil && !owned {
		err = conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus.StartServiceByName", 0, busserver.Name, uint32(0)).Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("luod does not come to the bus: see 'systemctl status luod.service luod-bus.service'")
	}
	return err
}

// direct connects to luod by its own socket, as root, and returns what looks like a bus on
// which only luod is.
func direct() (*dbus.Conn, error) {
	socket, err := buslink.Dial(buslink.Path)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(buslink.Path), ".luoctl-")
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "socket")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		socket.Close()
		return nil, fmt.Errorf("make a socket: %w", err)
	}
	defer l.Close()
	log := slog.New(slog.DiscardHandler)
	server := &busserver.Server{Log: log, Bin: &foreign.Bin{Log: log}, Luod: func() (*buslink.Socket, error) { return socket, nil }}
	go func() {
		conn, err := l.AcceptUnix()
		if err != nil {
			socket.Close()
			return
		}
		_ = server.ServePeer(context.Background(), conn) // the client sees that it ends
	}()
	conn, err := dbus.Dial("unix:path=" + dbus.EscapeBusAddressValue(path))
	if err == nil {
		err = conn.Auth(nil)
	}
	if err != nil {
		return nil, fmt.Errorf("connect to luod: %w", err)
	}
	return conn, nil
}
