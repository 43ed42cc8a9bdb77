package socket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
	"github.com/liveupdate/luod/internal/helperprotocol"
	"github.com/liveupdate/luod/internal/peers"
	"github.com/liveupdate/luod/internal/peers/oldkernel"
	"github.com/liveupdate/luod/luod/internal/callers"
	"github.com/liveupdate/luod/luod/internal/holdings"
	"github.com/liveupdate/luod/luod/internal/vault"
)

type registry struct {
	mu      sync.Mutex
	files   []*os.File
	names   []string
	refuse  error
	fetched int
	// slow is how long Fetched takes, unless its context ends before.
	slow time.Duration

	// path and bin are the server's.
	path string
	bin  *foreign.Bin
}

func (r *registry) Preserve(_ context.Context, _ string, names []string, files []*os.File) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse == nil {
		r.names, r.files = append(r.names, names...), append(r.files, files...)
	}
	return r.refuse
}

// Adopt takes what is for this unit.
func (r *registry) Adopt(ctx context.Context, caller, unit string, names []string, files []*os.File) error {
	if unit != "other.service" {
		return errors.New("not that")
	}
	return r.Preserve(ctx, caller, names, files)
}

func (r *registry) Forgo(_ context.Context, caller, unit string, names, reasons []string) error {
	return fmt.Errorf("%s forgoes %q of %s: %q", caller, names, unit, reasons)
}

func (r *registry) Reissue(context.Context, string) (holdings.Fetch, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := holdings.Fetch{Names: r.names}
	for _, file := range r.files {
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return f, err
		}
		f.Files = append(f.Files, os.NewFile(uintptr(fd), "dup"))
	}
	return f, nil
}

func (r *registry) Fetched(ctx context.Context, _ string, names []string) error {
	select {
	case <-time.After(r.slow):
	case <-ctx.Done():
		return ctx.Err()
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched += len(names)
	return nil
}

// Sessions gives what Reissue does, to the one who may hold them.
func (r *registry) Sessions(ctx context.Context, caller string) (holdings.Fetch, error) {
	if caller != "a.service" {
		return holdings.Fetch{}, errors.New("not you")
	}
	return r.Reissue(ctx, caller)
}

func serve(t *testing.T, r *registry, unitError error) string {
	t.Helper()
	return serveWithin(t, r, unitError, requestTimeout, idleTimeout)
}

func serveWithin(t *testing.T, r *registry, unitError error, request, idle time.Duration) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	r.path, r.bin = path, &foreign.Bin{Log: log}
	s, err := Listen(path, r, r.bin, log)
	if err != nil {
		t.Fatal(err)
	}
	s.Unit = func(int) (string, error) { return "test.service", unitError }
	s.request, s.idle = request, idle
	go s.Serve()
	t.Cleanup(s.Close)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Fatalf("the socket has mode %v, %v", st.Mode(), err)
	}
	return path
}

func dial(t *testing.T, path string) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	return fd
}

func memfds(t *testing.T, n int) (names []string, files []*os.File) {
	t.Helper()
	for i := range n {
		fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "memfd")
		fmt.Fprint(f, i)
		names, files = append(names, fmt.Sprintf("fd-%d", i)), append(files, f)
	}
	return names, files
}

func ask(t *testing.T, fd int, m helperprotocol.Message, files []*os.File) (helperprotocol.Message, []*os.File) {
	t.Helper()
	if err := helperprotocol.Send(fd, m, files); err != nil {
		t.Fatal(err)
	}
	answer, got, err := helperprotocol.Receive(fd)
	if err != nil {
		t.Fatal(err)
	}
	return answer, got
}

func TestManyDescriptorsComeInSeveralMessages(t *testing.T) {
	r := &registry{}
	r.names, r.files = memfds(t, 450)
	fd := dial(t, serve(t, r, nil))
	defer unix.Close(fd)
	m, files := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Retrieve}, nil)
	names := m.Names
	for m.More {
		var more []*os.File
		var err error
		if m, more, err = helperprotocol.Receive(fd); err != nil {
			t.Fatal(err)
		}
		names, files = append(names, m.Names...), append(files, more...)
	}
	if m.Unit != "test.service" {
		t.Errorf("the caller is %q", m.Unit)
	}
	if len(names) != 450 || len(files) != 450 {
		t.Fatalf("%d names and %d files", len(names), len(files))
	}
	for i, f := range files {
		b := make([]byte, 10)
		n, _ := f.ReadAt(b, 0)
		if names[i] != fmt.Sprintf("fd-%d", i) || string(b[:n]) != fmt.Sprint(i) {
			t.Fatalf("file %d is %q with %q", i, names[i], b[:n])
		}
	}
	helperprotocol.Close(files)
	if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Fetched, Names: names[:200]}, nil); m.Error != "" {
		t.Fatalf("%+v", m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fetched != 200 {
		t.Fatalf("%d fetched", r.fetched)
	}
	helperprotocol.Close(r.files)
}

func TestARefusedOrStrangeRequestLeavesNoDescriptor(t *testing.T) {
	r := &registry{refuse: &vault.Refusal{Reason: vault.NameInUse, Text: "taken"}}
	path := serve(t, r, nil)
	names, files := memfds(t, 3)
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	fd := dial(t, path)
	if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Preserve, Names: names}, files); m.Reason != "NameInUse" || m.Error != "taken" {
		t.Fatalf("%+v", m)
	}
	before := count()
	for range 3 {
		if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Preserve, Names: names}, files); m.Reason != "NameInUse" {
			t.Fatalf("%+v", m)
		}
		if m, _ := ask(t, fd, helperprotocol.Message{Request: "explode"}, files); !strings.Contains(m.Error, "explode") {
			t.Fatalf("%+v", m)
		}
	}
	if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Forgo, Unit: "other.service", Names: names, Reasons: []string{"it is a pipe"}}, files); m.Error != `test.service forgoes ["fd-0" "fd-1" "fd-2"] of other.service: ["it is a pipe"]` {
		t.Fatalf("%+v", m)
	}
	// Fewer is an earlier test's, closed by the garbage collector.
	if after := count(); after > before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
	unix.Close(fd)
	// Garbage ends that conversation and no other.
	fd = dial(t, path)
	if err := unix.Sendmsg(fd, []byte("{"), unix.UnixRights(int(files[0].Fd())), nil, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := helperprotocol.Receive(fd); err != io.EOF {
		t.Fatalf("after garbage: %v", err)
	}
	unix.Close(fd)
	fd = dial(t, path)
	defer unix.Close(fd)
	if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Retrieve}, nil); m.Error != "" {
		t.Fatalf("%+v", m)
	}
}

func TestACallerOfNoUnitGetsNothing(t *testing.T) {
	r := &registry{}
	r.names, r.files = memfds(t, 1)
	fd := dial(t, serve(t, r, fmt.Errorf("%w: really", callers.ErrNoUnit)))
	defer unix.Close(fd)
	m, files := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Preserve, Names: r.names}, r.files)
	if len(files) != 0 || m.Reason != helperprotocol.NoUnit || !strings.Contains(m.Error, "not a process of a system service") {
		t.Fatalf("%+v, %d files", m, len(files))
	}
	if _, _, err := helperprotocol.Receive(fd); !errors.Is(err, io.EOF) {
		t.Fatalf("it goes on: %v", err)
	}
}

// luod-reissue starts its conversation with a question, and whoever is refused hears
// that, and not that luod hung up.
func TestARefusalIsHeardHoweverLateTheQuestion(t *testing.T) {
	path := serve(t, &registry{}, callers.ErrNoUnit)
	for range 20 {
		fd := dial(t, path)
		runtime.Gosched() // to the server
		if m, _ := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Retrieve}, nil); m.Reason != helperprotocol.NoUnit {
			t.Fatalf("%+v", m)
		}
		unix.Close(fd)
	}
}

// Linux 6.1 can't tell who connected: luod goes by the credentials there, or no unit
// that is enabled would start.
func TestCallersAreServedOnAnOldKernel(t *testing.T) {
	if !oldkernel.Run(t) {
		return
	}
	for range 3 {
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		r := &registry{bin: &foreign.Bin{Log: log}}
		r.names, r.files = memfds(t, 2)
		path := filepath.Join(t.TempDir(), "s")
		s, err := Listen(path, r, r.bin, log)
		if err != nil {
			t.Fatal(err)
		}
		s.Unit = func(pidfd int) (string, error) {
			text, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", pidfd))
			if err != nil || !strings.Contains(string(text), fmt.Sprintf("\nPid:\t%d\n", os.Getpid())) {
				return "", fmt.Errorf("it is %q, %v", text, err)
			}
			return "self.service", nil
		}
		go s.Serve()
		fd := dial(t, path)
		m, files := ask(t, fd, helperprotocol.Message{Request: helperprotocol.Retrieve}, nil)
		if m.Error != "" || m.Unit != "self.service" || len(files) != 2 {
			t.Errorf("%+v, %d files", m, len(files))
		}
		unix.Close(fd)
		s.Close()
	}
}

// Whom luod can't make out is told so in a way that luod-reissue --optional knows.
func TestAProcessThatIsGoneIsUnidentified(t *testing.T) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	s := &Server{Unit: func(int) (string, error) { return "", errors.New("nobody asks") }}
	if _, err := s.caller(fd, 0); !errors.As(err, new(unidentified)) {
		t.Errorf("a socket that nobody connected: %v", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	if err := s.refuse(pair[0], unidentified{peers.ErrGone}); err != nil {
		t.Fatal(err)
	}
	if m, _, err := helperprotocol.Receive(pair[1]); err != nil || m.Reason != helperprotocol.Unidentified || m.Error != peers.ErrGone.Error() {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAHelperMayTakeItsTimeBetweenRequests(t *testing.T) {
	const short, long = 200 * time.Millisecond, 30 * time.Second
	for what, c := range map[string]struct {
		request, idle time.Duration
		// silent is how long the helper is before each request, slow how long each takes.
		silent, slow time.Duration
		// answer is part of the error that comes, and end the error of a conversation
		// that is over.
		answer string
		end    error
	}{
		"at once":                     {long, long, 0, 0, "", nil},
		"longer than a request may":   {short, long, 3 * short, 0, "", nil},
		"many requests are long":      {5 * short, long, 0, 3 * short / 2, "", nil},
		"one request takes too long":  {short, long, 0, long, "deadline", nil},
		"longer than a helper may be": {long, short, 5 * short, 0, "", io.EOF},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			fd := dial(t, serveWithin(t, &registry{slow: c.slow}, nil, c.request, c.idle))
			defer unix.Close(fd)
			for range 4 {
				time.Sleep(c.silent)
				var m helperprotocol.Message
				err := helperprotocol.Send(fd, helperprotocol.Message{Request: helperprotocol.Fetched, Names: []string{"x"}}, nil)
				if err == nil {
					m, _, err = helperprotocol.Receive(fd)
				}
				if c.end != nil {
					if !errors.Is(err, c.end) && !errors.Is(err, unix.EPIPE) {
						t.Errorf("it goes on: %+v, %v", m, err)
					}
					return
				}
				if err != nil || (m.Error == "") != (c.answer == "") || !strings.Contains(m.Error, c.answer) {
					t.Errorf("got %+v, %v", m, err)
				}
			}
		})
	}
}
