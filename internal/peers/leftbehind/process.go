package leftbehind

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// variable makes this program a process that connects its file descriptor 3 to the
// socket there, if there is one, says so, and ends when its standard input does.
const variable = "LUOD_TEST_CONNECT"

func init() {
	path, is := os.LookupEnv(variable)
	if !is {
		return
	}
	if path != "" {
		if err := unix.Connect(3, &unix.SockaddrUnix{Name: path}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
	fmt.Println("connected")
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(0)
}

// Process is one that has made a connection.
type Process struct {
	PID int
	// Conn is the same connection, here; nil if there is none.
	Conn net.Conn

	cmd *exec.Cmd
	in  io.Closer
}

// Begin starts a process that connects to the stream socket at path, if that isn't
// empty. It ends at the end of the test.
func Begin(t *testing.T, path string) *Process {
	t.Helper()
	p := &Process{cmd: exec.Command("/proc/self/exe")}
	p.cmd.Env = []string{variable + "=" + path}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if path != "" {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(fd), "socket")
		defer f.Close()
		p.cmd.ExtraFiles = []*os.File{f}
	}
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.PID, p.in = p.cmd.Process.Pid, in
	t.Cleanup(p.End)
	said := make([]byte, 100)
	if n, err := out.Read(said); err != nil || string(said[:n]) != "connected\n" {
		t.Fatalf("a process could not connect: %q, %v", said[:n], err)
	}
	if path != "" {
		if p.Conn, err = net.FileConn(p.cmd.ExtraFiles[0]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Conn.Close() })
	}
	return p
}

// End ends it, waits until its PID is free, and leaves its connection open.
func (p *Process) End() {
	p.in.Close()
	_ = p.cmd.Wait()
}

// Recycle is Begin for a process that is called pid, which is free. The test is skipped
// where none can be chosen.
func Recycle(t *testing.T, path string, pid int) *Process {
	t.Helper()
	for range 200 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Skipf("no PID can be chosen here: %v", err)
		}
		p := Begin(t, path)
		if p.PID == pid {
			return p
		}
		p.End()
	}
	t.Skipf("PID %d was never free", pid)
	return nil
}
