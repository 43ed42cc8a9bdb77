package socket

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/deadfs"
	"github.com/liveupdate/luod/internal/helperprotocol"
)

// What is on a file system that doesn't answer is refused as anything else is, and
// neither the refusal nor what follows in the conversation waits for it.
func TestADeadFileSystemHoldsNobodyUp(t *testing.T) {
	for what, flags := range map[string]int{
		"a file":               unix.O_RDWR,
		"one that is polled":   unix.O_RDWR | unix.O_NONBLOCK,
		"one opened as a path": unix.O_PATH,
	} {
		for _, request := range []string{helperprotocol.Preserve, helperprotocol.Adopt, helperprotocol.Retrieve, "explode", "{"} {
			t.Run(what+", "+request, func(t *testing.T) {
				fs := deadfs.Mount(t)
				dead := fs.Open(t, flags)
				r := &registry{}
				fd := dial(t, serve(t, r, nil))
				defer unix.Close(fd)
				within(t, fd)
				_, files := memfds(t, 1)
				defer helperprotocol.Close(files)
				fs.Die()
				text, err := json.Marshal(helperprotocol.Message{Request: request, Unit: "other.service", Names: []string{"good", "dead"}})
				if err != nil {
					t.Fatal(err)
				}
				if request == "{" {
					text = []byte(request) // which ends the conversation
				}
				if err := unix.Sendmsg(fd, text, unix.UnixRights(int(files[0].Fd()), dead), nil, 0); err != nil {
					t.Fatal(err)
				}
				m, _, err := helperprotocol.Receive(fd)
				switch request {
				case helperprotocol.Preserve, helperprotocol.Adopt:
					if err != nil || m.Reason != "UnsupportedFile" || !strings.Contains(m.Error, `file descriptor 1 of the call ("dead") can't be preserved: it `) {
						t.Fatalf("got %+v, %v", m, err)
					}
				case "explode", helperprotocol.Retrieve:
					if err != nil || strings.Contains(m.Error, "explode") != (request == "explode") {
						t.Fatalf("got %+v, %v", m, err)
					}
				}
				if request == "{" {
					unix.Close(fd)
					fd = dial(t, r.path)
					within(t, fd)
				}
				if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Fetched, Names: []string{"x"}}, nil); m.Error != "" {
					t.Fatalf("the next request: %+v", m)
				}
				if flags != unix.O_PATH {
					fs.WaitAsked(t, "FLUSH") // it is being closed, which asks
				}
				if asked := fs.Asked(); len(asked) > 1 {
					t.Errorf("the file system was asked %q", asked)
				}
				if len(r.files) > 0 {
					t.Errorf("%d files were taken", len(r.files))
				}
			})
		}
	}
}

// within bounds what is waited for on a socket.
func within(t *testing.T, fd int) {
	t.Helper()
	limit := unix.NsecToTimeval(int64(5 * time.Second))
	if err := os.NewSyscallError("setsockopt", unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit)); err != nil {
		t.Fatal(err)
	}
}

// More than can be closed at once stay open only until the file system answers.
func TestWhatADeadFileSystemHasIsClosedOnceItIsGone(t *testing.T) {
	fs := deadfs.Mount(t)
	dead := fs.Open(t, unix.O_RDWR)
	r := &registry{}
	fd := dial(t, serve(t, r, nil))
	defer unix.Close(fd)
	within(t, fd)
	ask(t, fd, helperprotocol.Message{Request: helperprotocol.Fetched}, nil)
	before := countOpen(t)
	fs.Die()
	const each, rounds = 50, 4
	rights := make([]int, each)
	for i := range rights {
		rights[i] = dead
	}
	for range rounds {
		if err := unix.Sendmsg(fd, []byte(`{"request":"fetched"}`), unix.UnixRights(rights...), nil, 0); err != nil {
			t.Fatal(err)
		}
		if m, _, err := helperprotocol.Receive(fd); err != nil || m.Error != "" {
			t.Fatalf("got %+v, %v", m, err)
		}
	}
	if r.bin.Open() != each*rounds {
		t.Errorf("%d of %d are to be closed", r.bin.Open(), each*rounds)
	}
	fs.LetGo()
	for end := time.Now().Add(10 * time.Second); r.bin.Open() > 0 || countOpen(t) > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d are still to be closed, and %d file descriptors are open instead of %d", r.bin.Open(), countOpen(t), before)
		}
	}
}

func countOpen(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
