package busbackend

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/client/errorname"
	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/internal/deadfs"
	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/luod/internal/coordinator"
	"github.com/liveupdate/luod/luod/internal/quota"
)

// linked is luod's side alone, and a luod-bus that says what the test wants.
func linked(t *testing.T) (*registry, *Server, *buslink.Link, chan buslink.Message, string) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r := &registry{held: map[string]string{}, files: map[string]*os.File{}}
	s := &Server{
		Registry: r, Log: log, Bin: &foreign.Bin{Log: log}, Meter: quota.Meter{Rate: 500, Burst: 2000},
		Unit: func(int) (string, error) {
			r.mu.Lock()
			identifying := r.identifying
			r.mu.Unlock()
			if identifying != nil {
				identifying()
			}
			return "test.service", nil
		},
	}
	path := t.TempDir() + "/s"
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(t.Context(), l)
	link, news := connect(t, path, s)
	return r, s, link, news, path
}

func connect(t *testing.T, path string, s *Server) (*buslink.Link, chan buslink.Message) {
	t.Helper()
	socket, err := buslink.Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	news := make(chan buslink.Message, 100000)
	link := buslink.NewLink(socket, s.Bin, func(m buslink.Message) { news <- m })
	t.Cleanup(link.Close)
	return link, news
}

// process runs a program as a user until the end of the test, and returns its pidfd.
func process(t *testing.T, uid uint32) int {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if err := cmd.Start(); err != nil {
		t.Skipf("run a program as user %d: %v", uid, err)
	}
	pidfd, err := unix.PidfdOpen(cmd.Process.Pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(pidfd); cmd.Process.Kill(); cmd.Wait() })
	return pidfd
}

// Root is who was root when it connected, by the bus, and whose process is root's now.
// Either alone is anybody: who has executed a program with the set-user-ID bit since, or
// whoever has a luod-bus say so.
func TestOnlyWhoIsRootInBothWaysIsRoot(t *testing.T) {
	r, _, link, _, _ := linked(t)
	root, nobody := process(t, 0), process(t, 65534)
	for what, c := range map[string]struct {
		told  buslink.Caller
		pidfd int
		want  string
	}{
		"root":                                   {buslink.Caller{UID: 0}, root, ""},
		"a user, whose process is root's now":    {buslink.Caller{UID: 1000}, root, errorname.AccessDenied},
		"root, whose process is another's now":   {buslink.Caller{UID: 0}, nobody, errorname.AccessDenied},
		"root without a process":                 {buslink.Caller{UID: 0}, -1, errorname.AccessDenied},
		"a user":                                 {buslink.Caller{UID: 65534}, nobody, errorname.AccessDenied},
		"a user whom polkit lets":                {buslink.Caller{UID: 65534, Allowed: []string{buslink.ActionCancel}}, nobody, ""},
		"a user whom polkit lets something else": {buslink.Caller{UID: 65534, Allowed: []string{buslink.ActionList}}, nobody, errorname.AccessDenied},
	} {
		var fds []int
		if c.pidfd >= 0 {
			c.told.Process, fds = true, []int{c.pidfd}
		}
		_, err := link.Ask(t.Context(), "Cancel", &c.told, buslink.Name{Name: "x"}, nil, fds...)
		name := ""
		if e, is := err.(*buslink.Error); is {
			name = e.Name
		} else if err != nil {
			name = err.Error()
		}
		if name != c.want {
			t.Errorf("%s: %v, want %q", what, err, c.want)
		}
	}
	if _, err := link.Ask(t.Context(), "LiveUpdate", &buslink.Caller{UID: 65534, Process: true, Allowed: []string{buslink.ActionUpdate}}, buslink.Update{IgnoreInhibitors: true}, nil, nobody); err == nil {
		t.Error("polkit was not asked about the inhibitors")
	}
	if _, err := link.Ask(t.Context(), "Cancel", nil, buslink.Name{}, nil); err == nil {
		t.Error("nobody may cancel")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.updates != 0 {
		t.Error("an update was begun")
	}
}

// What luod-bus sends as a pidfd may be anything, if it is somebody else's by then.
func TestWhatIsNoPidfdSpeaksForNobody(t *testing.T) {
	_, s, link, _, _ := linked(t)
	fs := deadfs.Mount(t)
	dead := fs.Open(t, unix.O_RDWR)
	memory, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(memory)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	fs.Die()
	for what, fd := range map[string]int{"a file of a dead file system": dead, "a memfd": memory, "a socket": pair[0]} {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		if _, err := link.Ask(ctx, "ListNames", &buslink.Caller{Process: true}, nil, nil, fd); err == nil || !strings.Contains(err.Error(), "no pidfd") {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := link.Ask(ctx, "Cancel", &buslink.Caller{Process: true}, buslink.Name{}, nil, fd); err == nil || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%s, as root: %v", what, err)
		}
		cancel()
	}
	fs.LetGo()
	if !soon(func() bool { return s.Bin.Open() == 0 }) {
		t.Error("something stays open")
	}
}

// Whatever luod-bus says, luod answers, or hangs up.
func TestAStrangeLuodBusIsRefused(t *testing.T) {
	_, _, link, _, _ := linked(t)
	for _, method := range []string{"", "Explode", "Preserve", "Retrieve", "Vouch", "Inhibit", "Load", "Register", "Fail"} {
		if _, err := link.Ask(t.Context(), method, nil, nil, nil); err == nil {
			t.Errorf("%q without a caller was taken", method)
		}
		if _, err := link.Ask(t.Context(), method, &buslink.Caller{UID: 7, Allowed: []string{buslink.ActionLoad, buslink.ActionInhibitBlock}}, "rubbish", nil); err == nil {
			t.Errorf("%q with rubbish was taken", method)
		}
	}
	if _, err := link.Ask(t.Context(), buslink.Sync, nil, nil, nil); err != nil {
		t.Errorf("and then: %v", err)
	}
}

// A luod-bus that is killed has perhaps not said what it was told: the next one is told it
// again, and nothing that was said.
func TestTheNextLuodBusIsToldWhatTheLastMayNotHaveSaid(t *testing.T) {
	_, s, link, news, path := linked(t)
	next := func(news chan buslink.Message) *buslink.Signal {
		t.Helper()
		for {
			select {
			case m := <-news:
				if m.Signal != nil {
					return m.Signal
				}
			case <-time.After(10 * time.Second):
				t.Fatal("nothing is told")
			}
		}
	}
	for n := range uint64(3) {
		s.Announce(coordinator.Signal{Unit: "a.service", Start: true, Generation: n})
	}
	first := next(news)
	if err := link.Emitted(first.Number); err != nil {
		t.Fatal(err)
	}
	if _, err := link.Ask(t.Context(), buslink.Sync, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	link.Close()
	_, again := connect(t, path, s)
	var got []uint64
	for range 2 {
		got = append(got, next(again).Generation)
	}
	if !reflect.DeepEqual(got, []uint64{1, 2}) {
		t.Errorf("told again: %d", got)
	}
}

// What was called before a luod-bus died is done, as what was called before a caller died.
func TestWhatWasCalledIsDoneThoughNobodyHearsOfIt(t *testing.T) {
	r, s, link, _, path := linked(t)
	begun, goOn, done := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r.mu.Lock()
	r.identifying = func() {
		close(begun)
		<-goOn
	}
	r.mu.Unlock()
	root := process(t, 0)
	go func() {
		_, err := link.Ask(t.Context(), "Register", &buslink.Caller{Process: true}, buslink.Registration{}, nil, root)
		done <- err
	}()
	<-begun
	link.Close()
	if err := <-done; err == nil {
		t.Error("it was answered")
	}
	again, _ := connect(t, path, s) // there is room for the next
	if _, err := again.Ask(t.Context(), buslink.Sync, nil, nil, nil); err != nil {
		t.Error(err)
	}
	close(goOn)
	if !soon(func() bool { return r.heardOf("test.service") }) {
		t.Error("it was not done")
	}
}
