package helperprotocol

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Conversation is a connection to luod's socket.
type Conversation struct {
	// Unit is the caller's, as luod said at Retrieve.
	Unit string

	f *os.File
}

// Dial tries until ctx ends: luod may be restarting. What is said then is bounded by
// ctx as well: who has something to do first that takes long dials afterwards.
func Dial(ctx context.Context) (*Conversation, error) { return DialAt(ctx, Path) }

// DialAt is Dial for another path.
func DialAt(ctx context.Context, path string) (*Conversation, error) {
	for {
		c, err := try(ctx, path)
		if err == nil {
			return c, nil
		}
		if !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.ECONNREFUSED) {
			return nil, fmt.Errorf("connect to luod at %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("connect to luod at %s: %w: is luod.service running?", path, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Try connects, or says at once why not; what is said then is bounded by ctx.
func Try(ctx context.Context) (*Conversation, error) { return try(ctx, Path) }

func try(ctx context.Context, path string) (*Conversation, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		limit := unix.NsecToTimeval(max(int64(time.Until(deadline)), int64(time.Millisecond)))
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
		_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &Conversation{f: os.NewFile(uintptr(fd), path)}, nil
}

// Close ends the conversation.
func (c *Conversation) Close() { c.f.Close() }

// Refused is luod's answer.
type Refused struct {
	// Reason is the last part of a D-Bus error name.
	Reason, Text string
}

func (e *Refused) Error() string { return "luod says: " + e.Text }

func (c *Conversation) ask(m Message, files []*os.File) error {
	if err := Send(int(c.f.Fd()), m, files); err != nil {
		return fmt.Errorf("ask luod to %s: %w", m.Request, err)
	}
	return nil
}

func (c *Conversation) answer() (Message, []*os.File, error) {
	m, files, err := Receive(int(c.f.Fd()))
	if err != nil {
		return m, nil, fmt.Errorf("wait for luod's answer: %w", err)
	}
	if m.Error != "" {
		Close(files)
		return m, nil, &Refused{m.Reason, m.Error}
	}
	return m, files, nil
}

// Retrieve returns everything luod holds for this unit; the caller owns the
// files, even with an error.
func (c *Conversation) Retrieve() (names []string, files []*os.File, err error) {
	return c.receive(Retrieve)
}

// Sessions returns all sessions of the next kernel; the caller owns the files, even
// with an error.
func (c *Conversation) Sessions() (names []string, files []*os.File, err error) {
	return c.receive(Hold)
}

func (c *Conversation) receive(request string) (names []string, files []*os.File, err error) {
	if err := c.ask(Message{Request: request}, nil); err != nil {
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
		c.Unit = m.Unit
		if !m.More {
			return names, files, nil
		}
	}
}

// Fetched says that names have arrived where they belong.
func (c *Conversation) Fetched(names []string) error {
	return c.Tell(Message{Request: Fetched, Names: names}, nil)
}

// Preserve hands files over under names; the caller keeps its own.
func (c *Conversation) Preserve(names []string, files []*os.File) error {
	return c.Tell(Message{Request: Preserve, Names: names}, files)
}

// Tell sends m and waits for luod's yes; the error may be a *Refused.
func (c *Conversation) Tell(m Message, files []*os.File) error {
	if err := c.ask(m, files); err != nil {
		return err
	}
	_, files, err := c.answer()
	Close(files)
	return err
}
