package buslink

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/foreign"
)

// ends are luod-bus's and luod's.
func ends(t testing.TB) (*Socket, *net.UnixConn) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s, err := Dial(path)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close(); conn.Close() })
	return s, conn
}

func bin() *foreign.Bin { return &foreign.Bin{Log: slog.New(slog.NewTextHandler(io.Discard, nil))} }

func openFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func memfd(t testing.TB) int {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// serve answers calls as f says.
func serve(conn *net.UnixConn, f func(s *Socket, m Message, descriptors []foreign.Descriptor)) {
	s := Accepted(conn)
	for {
		m, descriptors, err := s.Receive()
		if err != nil {
			return
		}
		f(s, m, descriptors)
	}
}

func TestCallsGetTheirAnswersInAnyOrder(t *testing.T) {
	socket, conn := ends(t)
	before := openFDs(t)
	var kept []Message
	go serve(conn, func(s *Socket, m Message, descriptors []foreign.Descriptor) {
		if kept = append(kept, m); len(kept) < 2 {
			bin().Close(descriptors...)
			return
		}
		for i := range kept {
			one := kept[len(kept)-1-i]
			_ = s.Send(Message{Number: one.Number, Names: one.Names, Result: one.Arguments}, int(descriptors[0]))
		}
		bin().Close(descriptors...)
	})
	l := NewLink(socket, bin(), func(Message) {})
	done := make(chan error, 2)
	for _, name := range []string{"a", "b"} {
		go func() {
			fd := memfd(t)
			defer unix.Close(fd)
			var got Names
			files, err := l.Ask(t.Context(), "Retrieve", nil, Names{[]string{name}}, &got, fd)
			if err == nil && (!reflect.DeepEqual(got.Names, []string{name}) || len(files) != 1) {
				err = errors.New("another's answer")
			}
			bin().Close(files...)
			done <- err
		}()
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	time.Sleep(10 * time.Millisecond)
	if after := openFDs(t); after > before {
		t.Errorf("%d file descriptors before, %d after", before, after)
	}
}

// Whoever has no answer is told that it may have been done, and nothing that comes late
// stays open.
func TestAnAnswerThatNobodyWaitsForIsClosed(t *testing.T) {
	socket, conn := ends(t)
	before := openFDs(t)
	go serve(conn, func(s *Socket, m Message, _ []foreign.Descriptor) {
		time.Sleep(20 * time.Millisecond)
		fd := memfd(t)
		_ = s.Send(Message{Number: m.Number}, fd, fd, fd)
		unix.Close(fd)
		if m.Method == "last" {
			conn.Close()
		}
	})
	l := NewLink(socket, bin(), func(Message) {})
	for range 5 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := l.Ask(ctx, "Retrieve", nil, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		cancel()
	}
	files, err := l.Ask(t.Context(), "last", nil, nil, nil)
	if err != nil {
		t.Error(err)
	}
	bin().Close(files...)
	<-l.Done()
	if _, err := l.Ask(t.Context(), "Retrieve", nil, nil, nil); !errors.Is(err, ErrLost) {
		t.Errorf("after the end: %v", err)
	}
	for range 200 {
		if openFDs(t) <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d file descriptors before, %d after", before, openFDs(t))
}

func TestWhatIsNoMessageEndsTheConnection(t *testing.T) {
	frame := func(length, count uint32, text string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, length)
		return append(binary.LittleEndian.AppendUint32(b, count), text...)
	}
	for what, b := range map[string][]byte{
		"too long":                       frame(MaxRequest+1, 0, ""),
		"very much too long":             frame(0xffffffff, 0, ""),
		"no JSON":                        frame(3, 0, "abc"),
		"another type":                   frame(12, 0, `{"number":""`),
		"descriptors that have not come": frame(2, 3, "{}"),
		"half":                           frame(20, 0, "{}"),
		"a piece of a head":              {1, 2},
	} {
		socket, conn := ends(t)
		if _, err := socket.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		socket.Close()
		if m, descriptors, err := Accepted(conn).Receive(); err == nil || len(descriptors) > 0 {
			t.Errorf("%s: %+v, %v", what, m, descriptors)
		}
	}
}

func TestACallThatIsTooLongIsNotSent(t *testing.T) {
	socket, conn := ends(t)
	go serve(conn, func(s *Socket, m Message, _ []foreign.Descriptor) { _ = s.Send(Message{Number: m.Number}) })
	l := NewLink(socket, bin(), func(Message) {})
	if _, err := l.Ask(t.Context(), "Release", nil, Names{[]string{strings.Repeat("x", MaxRequest)}}, nil); err == nil {
		t.Error("it was sent")
	}
	if _, err := l.Ask(t.Context(), "Release", nil, Names{[]string{"x"}}, nil); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"number":1,"method":"Preserve","caller":{"process":true,"uid":0,"allowed":["a"]},"names":["x"]}`))
	f.Add([]byte(`{"emitted":7}`))
	f.Add([]byte(`{"number":1,"method":"Check","arguments":{"entry":"a","override":["b"]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		socket, conn := ends(t)
		b := binary.LittleEndian.AppendUint32(nil, uint32(len(text)))
		b = append(binary.LittleEndian.AppendUint32(b, 0), text...)
		go func() { _, _ = socket.conn.Write(b); socket.Close() }()
		m, _, err := Accepted(conn).Receive()
		if err == nil && m.Size() != len(text) {
			t.Errorf("%d bytes are %d", len(text), m.Size())
		}
	})
}
