package foreign

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/internal/deadfs"
)

func memfd(t *testing.T) int {
	t.Helper()
	fd, err := unix.MemfdCreate("t", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestADescriptorIsNamedAsAPersonWould(t *testing.T) {
	dead := deadfs.Mount(t)
	file := dead.Open(t, unix.O_RDWR)
	polled := dead.Open(t, unix.O_RDWR|unix.O_NONBLOCK)
	path := dead.Open(t, unix.O_PATH)
	dir, err := unix.Open(dead.Dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dead.Die()
	defer func() { dead.LetGo(); unix.Close(dir) }()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	memory := memfd(t)
	for fd, want := range map[int]string{
		memory: "", file: "it is a file on a file system (" + filepath.Join(dead.Dir, deadfs.File) + ")", polled: "it is a file on a file system (" + filepath.Join(dead.Dir, deadfs.File) + ")",
		path: "it was opened with O_PATH, which gives no access to the contents", dir: "it is a directory (" + dead.Dir + ")",
		pair[0]: "it is a socket", event: "it is an eventfd", pipe[1]: "it is a pipe", null: "it is a device or another file (/dev/null)",
	} {
		_, err := Descriptor(fd).Seals()
		var not *NotInMemory
		if (err == nil) != (want == "") || err != nil && (!errors.As(err, &not) || not.What != want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if asked := dead.Asked(); len(asked) > 0 {
		t.Errorf("the file system was asked %q", asked)
	}
	if _, err := Descriptor(1 << 20).Seals(); !errors.Is(err, unix.EBADF) {
		t.Errorf("what is not open: %v", err)
	}
	for _, fd := range []int{pair[0], pair[1], event, pipe[0], pipe[1], null, memory} {
		unix.Close(fd)
	}
}

// say collects what is logged.
type say struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (s *say) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(b)
}

func (s *say) has(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Contains(s.text.String(), text)
}

func soon(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestTheBinClosesWhatAnswersAndTellsOfWhatDoesNot(t *testing.T) {
	dead := deadfs.Mount(t)
	file := dead.Open(t, unix.O_RDWR)
	log := &say{}
	b := &Bin{Log: slog.New(slog.NewTextHandler(log, nil)), patience: time.Millisecond}
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pipe[0])
	b.Close(Descriptor(pipe[1]))
	if n, err := unix.Read(pipe[0], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the pipe is not closed: %d, %v", n, err)
	}
	soon(t, "the pipe is out of the bin", func() bool { return b.Open() == 0 })
	if b.Hangs() {
		t.Error("something hangs before there is anything")
	}
	dead.Die()
	const count = 2 * maxClosing
	for range count {
		fd, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		b.Close(Descriptor(fd))
	}
	// What is in memory does not wait for those.
	memory := memfd(t)
	b.Close(Descriptor(memory))
	if _, err := unix.FcntlInt(uintptr(memory), unix.F_GETFD, 0); err != unix.EBADF {
		t.Errorf("a memfd is not closed: %v", err)
	}
	soon(t, "the log tells of it", func() bool {
		return b.Hangs() && log.has("umount -f") && log.has(filepath.Join(dead.Dir, deadfs.File))
	})
	soon(t, "all that may hang do", func() bool { return len(dead.Asked()) == maxClosing })
	if b.Open() != count {
		t.Errorf("%d of %d are open", b.Open(), count)
	}
	dead.LetGo()
	soon(t, "all are closed", func() bool { return b.Open() == 0 && !b.Hangs() })
	if len(dead.Asked()) != maxClosing {
		t.Errorf("the file system was asked %q", dead.Asked())
	}
}

// This is why luod does not restart itself while something hangs (Bin.Hangs): that
// SIGKILL ends a process that only has such a descriptor open is not so.
func TestAProcessWithADeadFileDoesNotEnd(t *testing.T) {
	dead := deadfs.Mount(t)
	file := dead.Open(t, unix.O_RDWR)
	fd, err := unix.FcntlInt(uintptr(file), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	given := os.NewFile(uintptr(fd), "given")
	child, err := os.StartProcess("/bin/sleep", []string{"sleep", "1000"}, &os.ProcAttr{Files: []*os.File{nil, nil, nil, given}})
	if err != nil {
		t.Fatal(err)
	}
	dead.Die()
	if err := child.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _, _ = child.Wait(); close(ended) }()
	dead.WaitAsked(t, "FLUSH")
	select {
	case <-ended:
		t.Log("it has ended all the same: this kernel needs less care")
	case <-time.After(100 * time.Millisecond):
	}
	dead.LetGo()
	<-ended
	given.Close()
}
