package client

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"
)

func TestARestartedBusIsConnectedToAnew(t *testing.T) {
	c, m := connect(t)
	names, files := memfds(t, 40)
	if err := c.Preserve(within(t), names, files); err != nil {
		t.Fatal(err)
	}
	for _, meanwhile := range []func(){nil, func() {
		// Called while there is none.
		go m.restart(nil)
		time.Sleep(gone / 2)
	}} {
		if meanwhile == nil {
			m.restart(nil)
		} else {
			meanwhile()
		}
		back, err := c.Retrieve(within(t))
		if err != nil || len(back) != 40 {
			t.Fatalf("%d files, %v", len(back), err)
		}
		for _, f := range back {
			f.Close()
		}
	}
	// In the middle of a call, which luod has carried out.
	m.with(func() {
		m.trouble["Preserve"] = []trouble{{late: true, stays: true}}
		m.asked["Preserve"] = 0
	})
	more, others := memfds(t, 1)
	more[0] = "more"
	go func() {
		m.wait(t, func() bool { return m.asked["Preserve"] == 1 })
		m.restart(nil)
	}()
	if err := c.Preserve(within(t), more, others); err != nil {
		t.Fatal(err)
	}
	m.with(func() {
		if len(m.names) != 41 {
			t.Errorf("held: %v", m.names)
		}
	})
}

// A service that starts while the bus is restarted gets a connection that ends at once.
func TestABusThatHangsUpIsConnectedToAnew(t *testing.T) {
	d := newDaemon(t)
	d.dial().Close()
	d.kill()
	old, err := net.Listen("unix", d.socket())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if conn, err := old.Accept(); err == nil {
			old.Close() // which removes the socket
			d.start()
			d.dial().Close()
			conn.Close()
		}
	}()
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", d.address())
	c, err := Connect(within(t))
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	// Without a bus it is said at once.
	d.kill()
	began := time.Now()
	if _, err := Connect(context.Background()); err == nil || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

// left counts what this process has open and runs.
func left(t *testing.T) (fds, goroutines int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries), runtime.NumGoroutine()
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

func TestNothingIsLeftOfAClosedClient(t *testing.T) {
	_, m := connect(t)
	names, files := memfds(t, 20)
	fds, goroutines := left(t)
	for range 3 {
		c, err := Connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Preserve(within(t), names, files); err != nil {
			t.Fatal(err)
		}
		events, err := c.Register(within(t), Participation{})
		if err != nil {
			t.Fatal(err)
		}
		// Nobody reads the events.
		for range cap(events) + 5 {
			emit(t, m, "Cancelled", uint64(1), "no")
		}
		// An answer that comes when nobody waits for it any more.
		m.with(func() {
			m.asked["Retrieve"] = 0
			m.trouble["Retrieve"] = []trouble{{late: true, slow: 300 * time.Millisecond}}
		})
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		if _, err := c.Retrieve(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
		time.Sleep(300 * time.Millisecond)
		m.restart(nil)
		if err := c.ReleaseAll(within(t)); err != nil {
			t.Fatal(err)
		}
		m.with(func() { m.trouble["Ready"] = []trouble{{stays: true}}; m.asked["Ready"] = 0 })
		go c.Ready(context.Background())
		m.wait(t, func() bool { return m.asked["Ready"] == 1 })
		c.Close()
		c.Close()
		// Also one that is just connecting anew.
		c, err = Connect(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Register(within(t), Participation{}); err != nil {
			t.Fatal(err)
		}
		m.daemon.kill()
		time.Sleep(awayPause / 2)
		c.Close()
		m.daemon.start()
		m.serve()
	}
	var nowFDs, nowGoroutines int
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if nowFDs, nowGoroutines = left(t); nowFDs <= fds && nowGoroutines <= goroutines {
			return
		}
	}
	t.Errorf("before: %d fds, %d goroutines; after: %d, %d\n%s", fds, goroutines, nowFDs, nowGoroutines, stacks())
}
