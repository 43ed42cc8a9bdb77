package main

import (
	"context"
	"os"
	"time"

	"github.com/liveupdate/luod/internal/sdnotify"
)

// timed is the fd store with the time that luod spent in it, and waiting for PID 1.
type timed struct {
	*sdnotify.Manager
	spent time.Duration
}

func (t *timed) Push(name string, files ...*os.File) error {
	began := time.Now()
	defer func() { t.spent += time.Since(began) }()
	return t.Manager.Push(name, files...)
}

func (t *timed) Barrier(ctx context.Context) error {
	began := time.Now()
	defer func() { t.spent += time.Since(began) }()
	return t.Manager.Barrier(ctx)
}
