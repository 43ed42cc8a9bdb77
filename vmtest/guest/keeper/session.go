package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client"
	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luo"
)

// sessionName is the name of a service's own session, and sessionToken where its
// one file is.
const (
	sessionName  = "own"
	sessionToken = 42
)

// ownSession gets the file of this unit's own session back, or makes it; in any
// case it then lies in a session for the next update.
func ownSession(ctx context.Context, luod *client.Client, unit string) (*os.File, error) {
	f, err := fromOwnSession(ctx, luod)
	if err != nil {
		return nil, err
	}
	if f == nil {
		fd, err := unix.MemfdCreate(sessionName, unix.MFD_CLOEXEC)
		if err != nil {
			return nil, err
		}
		f = os.NewFile(uintptr(fd), sessionName)
		if err := fill(f, unit, want{name: sessionName, size: 8192}); err != nil {
			return nil, err
		}
	}
	err = keep(ctx, luod, f)
	if errors.Is(err, unix.EEXIST) {
		// An earlier process of this boot has filled it, and nobody can take
		// anything out of a session before the next boot.
		if err := luod.ReleaseSession(ctx, sessionName); err != nil {
			return nil, err
		}
		err = keep(ctx, luod, f)
	}
	return f, err
}

func keep(ctx context.Context, luod *client.Client, f *os.File) error {
	s, err := luod.CreateSession(ctx, sessionName)
	if err != nil {
		return err
	}
	defer s.Close()
	return luo.New().SessionFromFile(s).PreserveFD(f, sessionToken)
}

// fromOwnSession returns nil if there is none.
func fromOwnSession(ctx context.Context, luod *client.Client) (*os.File, error) {
	f, err := luod.RetrieveSession(ctx, sessionName)
	var refused *client.Error
	if errors.As(err, &refused) && refused.Name == errorname.Prefix+errorname.NoSuchSession {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	s := luo.New().SessionFromFile(f)
	defer s.Close()
	m, err := s.RetrieveFD(sessionToken)
	if err != nil {
		return nil, err
	}
	if err := s.Finish(); err != nil {
		return nil, fmt.Errorf("finish: %w", err)
	}
	return m, luod.ReleaseSession(ctx, sessionName)
}
