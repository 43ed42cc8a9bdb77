package busbackend

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/liveupdate/luod/internal/busserver"
	"github.com/liveupdate/luod/internal/phase"
	"github.com/liveupdate/luod/luod/internal/coordinator"
)

// A bus that reads nothing any more holds up nobody who shows it a new status: that happens
// under the lock of all that luod knows.
func TestABusThatHangsHoldsNobodyUp(t *testing.T) {
	b, _, d, conn := open(t)
	if err := b.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = b.command.Process.Signal(syscall.SIGCONT) }()
	shown := make(chan struct{})
	last := strings.Repeat("x", 64<<10)
	go func() {
		defer close(shown)
		phases := []phase.Phase{phase.Checking, phase.Preparing, phase.Idle}
		for n := range 200 { // 12 MiB, far more than the socket takes
			d.Changed(coordinator.Status{Phase: phases[n%3], Generation: uint64(n), LastError: last + string(phases[n%3])})
			d.Announce(coordinator.Signal{Start: true, Generation: uint64(n)})
		}
		d.Changed(coordinator.Status{Phase: phase.Committed, Generation: 9})
	}()
	select {
	case <-shown:
	case <-time.After(10 * time.Second):
		t.Fatal("whoever shows a new status waits for the bus")
	}
	if err := b.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if v, err := conn.Object(busserver.Name, busserver.Path).GetProperty(busserver.Interface + ".Phase"); err != nil || v.Value() != string(phase.Committed) {
		t.Errorf("the phase is %v, %v", v, err)
	}
}
