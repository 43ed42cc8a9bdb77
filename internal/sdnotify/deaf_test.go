package sdnotify

import (
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A manager that reads nothing holds nobody up for ever, and whoever was to be told knows
// that it was not.
func TestAManagerThatReadsNothingIsGivenUp(t *testing.T) {
	was := sendTimeout
	defer func() { sendTimeout = was }()
	sendTimeout = 50 * time.Millisecond
	path := filepath.Join(t.TempDir(), "notify")
	listener, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	m := &Manager{address: path}
	for range 100000 { // net.unix.max_dgram_qlen of them wait
		if err = m.Remove("some"); err != nil {
			break
		}
	}
	if !errors.Is(err, unix.EAGAIN) || !strings.Contains(err.Error(), "has not read its messages for 50ms") {
		t.Fatalf("got %v", err)
	}
	if _, err := listener.Read(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove("some"); err != nil {
		t.Errorf("it reads again: %v", err)
	}
}
