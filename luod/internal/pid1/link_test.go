package pid1

import (
	"context"
	"errors"
	"testing"
	"time"
)

type fakeConnection struct {
	closed, lost bool
	life         context.Context
}

func (f *fakeConnection) Close()          { f.closed = true }
func (f *fakeConnection) Connected() bool { return !f.closed && !f.lost }

func TestConnectionsAreSharedWhileSomebodyHoldsThem(t *testing.T) {
	var dialled []*fakeConnection
	l := newLink(func(ctx context.Context) (*fakeConnection, error) {
		dialled = append(dialled, &fakeConnection{life: ctx})
		return dialled[len(dialled)-1], nil
	})
	get := func() (*fakeConnection, func()) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		conn, done, err := l.get(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return conn, done
	}
	one, done := get()
	if done(); !one.closed {
		t.Error("nobody holds it, and it is still open")
	}
	release, other := l.hold(), l.hold()
	a, doneA := get()
	b, doneB := get()
	if a != b || len(dialled) != 2 {
		t.Fatalf("connected %d times", len(dialled))
	}
	if a.life.Err() != nil {
		t.Error("the connection ends with the call that made it")
	}
	doneA()
	doneA()
	release()
	release()
	if a.closed {
		t.Error("it is closed while another holds it")
	}
	other()
	if a.closed {
		t.Error("it is closed while another uses it")
	}
	if doneB(); !a.closed {
		t.Error("it is left open")
	}
	release = l.hold()
	defer release()
	c, done := get()
	done()
	c.lost = true
	if d, done := get(); d == c || !c.closed {
		t.Error("a lost connection is used again")
	} else {
		done()
	}
}

func TestAConnectionIsWaitedForNoLongerThanItsContext(t *testing.T) {
	begun := make(chan struct{})
	l := newLink(func(ctx context.Context) (*fakeConnection, error) {
		close(begun)
		<-ctx.Done() // as PID 1 that hangs
		return nil, ctx.Err()
	})
	defer l.hold()()
	slow, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { _, _, err := l.get(slow); ended <- err }()
	<-begun
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if _, _, err := l.get(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("beside one that connects: %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that connects: %v", err)
	}
}
