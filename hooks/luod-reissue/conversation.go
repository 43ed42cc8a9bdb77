package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/luod/wire"
)

// conversation is a connection to luod's socket.
type conversation struct {
	f *os.File
}

// dial tries until ctx ends: luod may be restarting.
func dial(ctx context.Context) (*conversation, error) {
	for {
		c, err := dialOnce(ctx)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("connect to luod at %s: %w", wire.Path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to luod at %s: %w: is luod.service running?", wire.Path, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func dialOnce(ctx context.Context) (*conversation, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		limit := unix.NsecToTimeval(max(int64(time.Until(deadline)), int64(time.Millisecond)))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: wire.Path}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &conversation{f: os.NewFile(uintptr(fd), wire.Path)}, nil
}

// Close ends the conversation.
func (c *conversation) Close() { c.f.Close() }

// refusedError is luod's answer.
type refusedError struct {
	reason, text string
}

func (e *refusedError) Error() string { return "luod says: " + e.text }

func (c *conversation) ask(m wire.Message, files []*os.File) error {
	if err := wire.Send(int(c.f.Fd()), m, files); err != nil {
		return fmt.Errorf("ask luod to %s: %w", m.Request, err)
	}
	return nil
}

func (c *conversation) answer() (wire.Message, []*os.File, error) {
	m, files, err := wire.Receive(int(c.f.Fd()))
	if err != nil {
		return m, nil, fmt.Errorf("wait for luod's answer: %w", err)
	}
	if m.Error != "" {
		wire.Close(files)
		return m, nil, &refusedError{m.Reason, m.Error}
	}
	return m, files, nil
}

// retrieve returns everything luod holds for this unit; the caller owns the
// files, even with an error.
func (c *conversation) retrieve() (names []string, files []*os.File, err error) {
	if err := c.ask(wire.Message{Request: wire.Retrieve}, nil); err != nil {
		return nil, nil, err
	}
	for {
		m, fs, err := c.answer()
		files = append(files, fs...)
		if err != nil {
			return nil, files, err
		}
		if len(m.Names) != len(fs) {
			return nil, files, fmt.Errorf("luod named %d file descriptors and sent %d", len(m.Names), len(fs))
		}
		names = append(names, m.Names...)
		if !m.More {
			return names, files, nil
		}
	}
}

func (c *conversation) fetched(names []string) error {
	if err := c.ask(wire.Message{Request: wire.Fetched, Names: names}, nil); err != nil {
		return err
	}
	_, _, err := c.answer()
	return err
}

func (c *conversation) preserve(names []string, files []*os.File) error {
	if err := c.ask(wire.Message{Request: wire.Preserve, Names: names}, files); err != nil {
		return err
	}
	_, _, err := c.answer()
	return err
}
