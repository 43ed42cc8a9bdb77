package machine

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
)

// Machines of different processes take turns: as many processes as half the CPUs may have machines at a time, for a
// machine keeps two CPUs busy while it boots. `go test ./...` starts several test binaries at once. A process that has a
// turn may start any number of machines, so that a test with two cannot wait for itself.
var turn struct {
	sync.Mutex
	machines int
	release  func()
}

func takeTurn(ctx context.Context) error {
	turn.Lock()
	defer turn.Unlock()
	if turn.machines == 0 {
		release, err := waitForTurn(ctx)
		if err != nil {
			return err
		}
		turn.release = release
	}
	turn.machines++
	return nil
}

func endTurn() {
	turn.Lock()
	defer turn.Unlock()
	if turn.machines--; turn.machines == 0 {
		turn.release()
	}
}

func waitForTurn(ctx context.Context) (release func(), err error) {
	for {
		for i := range max(1, runtime.NumCPU()/2) {
			release, err := lab.TryLock(fmt.Sprintf("machine-%d", i))
			if !errors.Is(err, lab.ErrLocked) {
				return release, err
			}
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait until other processes' machines have ended: %w", ctx.Err())
		case <-time.After(300 * time.Millisecond):
		}
	}
}
