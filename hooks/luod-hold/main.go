package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/sdnotify"
)

// timeout bounds the asking; luod answers in milliseconds.
const timeout = 20 * time.Second

// refused is the exit status if luod has nothing to be held, for which another try is of
// no use (RestartPreventExitStatus= of luod-hold.service).
const refused = 3

func main() {
	// The journal goes away long before this, and a write to its dead socket would
	// end it.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP, syscall.SIGINT)
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "Usage: luod-hold\n\nHolds the sessions of a live update; luod starts it as luod-hold.service, see luod(8).")
		os.Exit(2)
	}
	end := make(chan os.Signal, 1)
	signal.Notify(end, syscall.SIGTERM)
	if err := run(end); err != nil {
		fmt.Fprintln(os.Stderr, "luod-hold:", err)
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		_ = sdnotify.Say(ctx, err.Error())
		cancel()
		if errors.As(err, new(*helperprotocol.Refused)) {
			os.Exit(refused)
		}
		os.Exit(1)
	}
}

// run holds everything until it is to end. luod's death, and PID 1's way to
// systemd-shutdown, change nothing here.
func run(end <-chan os.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	type held struct {
		files []*os.File
		err   error
	}
	begun := make(chan held, 1)
	go func() {
		files, err := hold(ctx)
		begun <- held{files, err}
	}()
	select {
	case <-end:
		// A luod that was killed while this asked it has this ended before it answers
		// anybody again. What is in flight ends with the process.
		return nil
	case h := <-begun:
		if h.err != nil {
			return h.err
		}
		<-end
		helperprotocol.Close(h.files)
		return nil
	}
}

// hold gets all sessions, and tells PID 1 when they are here.
func hold(ctx context.Context) ([]*os.File, error) {
	manager, err := sdnotify.New()
	if err != nil {
		return nil, err
	}
	luod, err := helperprotocol.Dial(ctx)
	if err != nil {
		return nil, err
	}
	defer luod.Close()
	_, files, err := luod.Sessions()
	if err != nil {
		helperprotocol.Close(files)
		return nil, fmt.Errorf("get the sessions: %w", err)
	}
	if err := manager.Notify(fmt.Sprintf("READY=1\nSTATUS=Holding %d sessions", len(files))); err != nil {
		helperprotocol.Close(files)
		return nil, err
	}
	return files, nil
}
