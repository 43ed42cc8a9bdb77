package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// luod has this ended when it is started again, and answers nobody before that.
func TestItEndsWhileItWaitsForLuod(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	t.Setenv("NOTIFY_SOCKET", path)
	end, done := make(chan os.Signal, 1), make(chan error, 1)
	go func() { done <- run(end) }()
	time.Sleep(10 * time.Millisecond)
	end <- syscall.SIGTERM
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(3 * time.Second):
		t.Error("it goes on waiting")
	}
}
