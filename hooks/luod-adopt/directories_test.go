package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/entryname"
	"github.com/liveupdate/luod/internal/helperprotocol"
)

// impatient is a luod that hangs up on who is silent for so long. It returns the path
// of its socket, and what it was handed so far.
func impatient(t *testing.T, patience time.Duration) (path string, got func() []string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "s")
	listener, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(listener, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(listener, 10); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var taken []string
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			fd, _, err := unix.Accept4(listener, unix.SOCK_CLOEXEC)
			if err != nil {
				return
			}
			wait.Go(func() {
				defer unix.Close(fd)
				limit := unix.NsecToTimeval(int64(patience))
				_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)
				for {
					m, files, err := helperprotocol.Receive(fd)
					if err != nil {
						return
					}
					mu.Lock()
					for i, f := range files {
						text := make([]byte, 100)
						n, _ := f.ReadAt(text, 0)
						taken = append(taken, fmt.Sprintf("%s %s %s: %s", m.Request, m.Unit, m.Names[i], text[:n]))
					}
					for i, reason := range m.Reasons {
						taken = append(taken, fmt.Sprintf("%s %s %s: %s", m.Request, m.Unit, m.Names[i], reason))
					}
					mu.Unlock()
					helperprotocol.Close(files)
					if helperprotocol.Send(fd, helperprotocol.Message{}, nil) != nil {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() {
		_ = unix.Shutdown(listener, unix.SHUT_RDWR)
		wait.Wait()
		unix.Close(listener)
	})
	return path, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(taken)
	}
}

func TestADirectoryMayTakeLongToPack(t *testing.T) {
	const patience = 300 * time.Millisecond
	for what, c := range map[string]struct {
		packing time.Duration
		paths   []string
		want    []string
		fails   string
	}{
		"quick":      {0, []string{"/a", "/b"}, []string{"/a", "/b"}, ""},
		"slow":       {2 * patience, []string{"/a", "/b"}, []string{"/a", "/b"}, ""},
		"one is bad": {0, []string{"/a", "/bad", "/c"}, []string{"/a"}, "it is bad"},
		"no path":    {0, []string{"/a", ""}, []string{"/a"}, "is not UNIT=PATH"},
	} {
		t.Run(what, func(t *testing.T) {
			path, got := impatient(t, patience)
			var args, want []string
			for _, p := range c.paths {
				args = append(args, strings.TrimSuffix("x.service="+p, "="))
			}
			for _, p := range c.want {
				want = append(want, "adopt x.service "+entryname.DirectoryName(p)+": "+p)
			}
			pack := func(path string) (*os.File, error) {
				if path == "/bad" {
					return nil, errors.New("it is bad")
				}
				time.Sleep(c.packing)
				fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
				if err != nil {
					return nil, err
				}
				f := os.NewFile(uintptr(fd), path)
				_, err = f.WriteString(path)
				return f, err
			}
			err := handOverDirectories(args, pack, func(ctx context.Context) (*helperprotocol.Conversation, error) {
				return helperprotocol.DialAt(ctx, path)
			})
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("got %v", err)
			}
			if got := got(); !slices.Equal(got, want) {
				t.Errorf("luod got %q, want %q", got, want)
			}
		})
	}
}
