package sdnotify

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/scmrights"
)

func manager(t *testing.T) (*Manager, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	m, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return m, conn
}

func receive(t *testing.T, conn *net.UnixConn) (string, []int) {
	t.Helper()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(scmrights.Max*4))
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
	if err != nil {
		t.Fatal(err)
	}
	files := scmrights.Received(oob[:oobn])
	var fds []int
	for _, f := range files {
		fd, _ := unix.Dup(int(f.Fd()))
		fds = append(fds, fd)
		f.Close()
	}
	return string(buf[:n]), fds
}

func TestPushSplitsAtTheKernelsLimit(t *testing.T) {
	m, conn := manager(t)
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	many := []int{}
	done := make(chan error, 1)
	go func() {
		done <- m.Push("name", slices.Repeat([]*os.File{f}, scmrights.Max+1)...)
	}()
	for _, want := range []int{scmrights.Max, 1} {
		state, fds := receive(t, conn)
		if state != "FDSTORE=1\nFDPOLL=0\nFDNAME=name" || len(fds) != want {
			t.Fatalf("got %q with %d fds, want %d", state, len(fds), want)
		}
		many = append(many, fds...)
	}
	for _, fd := range many {
		unix.Close(fd)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestBarrierWaitsForTheManager(t *testing.T) {
	m, conn := manager(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := m.Barrier(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want DeadlineExceeded", err)
	}
	_, fds := receive(t, conn)
	unix.Close(fds[0])
	done := make(chan error, 1)
	go func() { done <- m.Barrier(context.Background()) }()
	state, fds := receive(t, conn)
	if state != "BARRIER=1" || len(fds) != 1 {
		t.Fatalf("got %q with %d fds", state, len(fds))
	}
	unix.Close(fds[0])
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestCheckName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "with space": true, strings.Repeat("x", 255): true,
		"": false, strings.Repeat("x", 256): false, "a:b": false, "a\nb": false, "a\x00b": false, "ä": false, "\x7f": false,
	} {
		if err := CheckName(name); (err == nil) != ok {
			t.Errorf("CheckName(%q) = %v, want ok=%v", name, err, ok)
		}
	}
}
