package systemdtest

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/vmtest/lab"
)

//go:embed boot.sh
var bootScript string

// Options is what a system is made of.
type Options struct {
	Suite lab.Suite
	// Packages are installed beside those of every system.
	Packages []string
	// Units are files of /etc/systemd/system, by their names there, and Files are others.
	Units map[string]string
	Files []lab.File
	// Wants are the units that are started at boot.
	Wants []string

	// outside is a directory of this machine that is /dev/outside there, if there is one, and then commandLine is in /proc/cmdline.
	outside, commandLine string
}

// System is one that runs. Its methods are called from the test's goroutine, and end the test if they fail.
type System struct {
	t      testing.TB
	pid    int
	cgroup string
	log    *kmsg
	output *capped
	ended  chan struct{}
	status syscall.WaitStatus
	booted string // what was written at the last boot
}

// bootTimeout is generous: it takes a second.
const bootTimeout = 60 * time.Second

// Boot boots a system and waits until it is up. It is killed when the test ends.
func Boot(t testing.TB, o Options) *System {
	t.Helper()
	tree := need(t, o.Suite, o.Packages...)
	dir, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	o.Files = append(slices.Clip(o.Files), Program(t, "github.com/liveupdate/luod/vmtest/guest/busrelay"))
	s := &System{t: t, output: new(capped), ended: make(chan struct{})}
	for _, d := range []string{"files", "out"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := layDown(filepath.Join(dir, "files"), o); err != nil {
		t.Fatal(err)
	}
	if s.log, err = openKmsg(dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.log.f.Close() })
	if s.cgroup, err = makeCgroup(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeCgroup(s.cgroup, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	if err := s.start(o, tree, dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("what PID 1 said:\n%s\n%s", s.output.String(), s.log.tail(60))
		}
		s.Kill()
	})
	s.waitBoot()
	if err := s.startRelay(); err != nil {
		t.Fatal(err)
	}
	return s
}

// need returns the suite's tree, or says why there is none.
func need(t testing.TB, suite lab.Suite, packages ...string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("it boots a systemd, which takes seconds and root")
	}
	if os.Geteuid() != 0 {
		t.Fatalf("to boot a systemd in namespaces takes root, and this is uid %d", os.Geteuid())
	}
	ctx := context.Background()
	if err := lab.Need(ctx, os.Stderr); err != nil {
		t.Fatal(err)
	}
	tree, err := lab.Tree(ctx, os.Stderr, suite, packages...)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// start starts PID 1 in its cgroup.
//
// Killed afterwards: the thread that started it is gone, and so PID 1 is killed, with all in its namespaces.
func (s *System) start(o Options, tree, dir string) error {
	cgroup, err := os.Open(s.cgroup)
	if err != nil {
		return fmt.Errorf("boot a system: %w", err)
	}
	defer cgroup.Close()
	cmd := exec.Command("unshare", "--cgroup", "bash", "-c", bootScript)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TREE=" + tree, "FILES=" + filepath.Join(dir, "files"), "OUT=" + filepath.Join(dir, "out"), "KMSG=" + s.log.path, "OUTSIDE=" + o.outside, "LINE=" + o.commandLine}
	cmd.Stdout, cmd.Stderr = s.output, s.output
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWNET,
		UseCgroupFD: true, CgroupFD: int(cgroup.Fd()),
		Pdeathsig: unix.SIGKILL,
		Setsid:    true,
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // the thread must live as long as PID 1 shall
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
			s.status = cmd.ProcessState.Sys().(syscall.WaitStatus)
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("boot a system: %w", err)
	}
	s.pid = cmd.Process.Pid
	return nil
}

// Root is the system's root directory as the test sees it; its sockets can be connected to by such a path.
func (s *System) Root() string { return fmt.Sprintf("/proc/%d/root", s.pid) }

// waitBoot waits until the system has booted once more.
func (s *System) waitBoot() {
	s.t.Helper()
	deadline := time.Now().Add(bootTimeout)
	for {
		if text, err := os.ReadFile(filepath.Join(s.Root(), bootedPath)); err == nil && string(text) != s.booted {
			s.booted = string(text)
			return
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the system ended while it booted: %v", s.status)
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the system did not boot within %s", bootTimeout)
		}
	}
}

// capped keeps the beginning of what is written.
type capped struct {
	mu   sync.Mutex
	text strings.Builder
}

func (c *capped) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.text.Len() < 64<<10 {
		c.text.Write(p)
	}
	return len(p), nil
}

func (c *capped) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.text.String()
}
