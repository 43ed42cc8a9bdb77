package busbackend

import (
	"io"
	"os"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/luod/internal/fault"
)

func TestSessionsGoThroughTheDoor(t *testing.T) {
	_, r, _, conn := open(t)
	call(conn, "ListNames") // from now on the door knows the caller
	before := openFDs(t)
	for method, want := range map[string]string{"CreateSession": "test.service vm", "RetrieveSession": "test.service back vm"} {
		for range 10 {
			var fd dbus.UnixFD
			if err := call(conn, method, "vm").Store(&fd); err != nil {
				t.Fatal(err)
			}
			f := os.NewFile(uintptr(fd), "session")
			got, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
			f.Close()
			if err != nil || string(got) != want {
				t.Errorf("%s: %q, %v", method, got, err)
			}
		}
	}
	if err := call(conn, "ReleaseSession", "vm").Err; err != nil {
		t.Error(err)
	}
	// The door closes its own after the reply is out.
	if !soon(func() bool { return openFDs(t) == before }) {
		t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
	}
	r.mu.Lock()
	r.refuse = &fault.Fault{Name: "SessionWaiting", Err: io.EOF}
	r.mu.Unlock()
	for _, method := range []string{"CreateSession", "RetrieveSession", "ReleaseSession"} {
		if err := call(conn, method, "vm").Err; errorName(err) != errorname.Prefix+"SessionWaiting" {
			t.Errorf("%s: %v", method, err)
		}
	}
}
