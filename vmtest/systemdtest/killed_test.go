package systemdtest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/liveupdate/luod/vmtest/lab"
)

// bootOnly has this test program boot a system, tell of it, and wait to be killed.
const bootOnly = "LUOD_SYSTEMDTEST_BOOT_ONLY"

func TestAKilledTestLeavesNothing(t *testing.T) {
	if os.Getenv(bootOnly) != "" {
		s := Boot(t, Options{Suite: lab.Trixie})
		fmt.Printf("booted %d %s %s\n", s.pid, s.cgroup, filepath.Dir(s.log.path))
		select {}
	}
	need(t, lab.Trixie)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestAKilledTestLeavesNothing$")
	cmd.Env = append(os.Environ(), bootOnly+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var cgroup, dir string
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		_, _ = fmt.Sscanf(lines.Text(), "booted %d %s %s", &pid, &cgroup, &dir)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	if pid == 0 {
		t.Fatal("it did not boot")
	}
	// PID 1 is reaped by whoever takes in orphans, and all else in its namespace by PID 1.
	deadline := time.Now().Add(10 * time.Second)
	for !empty(cgroup) {
		if time.Now().After(deadline) {
			t.Fatalf("it runs on as %d: %v", pid, unix.Kill(pid, 0))
		}
		time.Sleep(20 * time.Millisecond)
	}
	// The next test removes what is left.
	nextCgroup, err := makeCgroup()
	if err != nil {
		t.Fatal(err)
	}
	nextDir, err := makeDir()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(removeCgroup(nextCgroup, 0), os.Remove(nextDir)); err != nil {
		t.Error(err)
	}
	for _, path := range []string{cgroup, dir} {
		if _, err := os.Stat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left: %v", path, err)
		}
	}
}

// empty says that nothing runs in a cgroup and those below (cgroups(7): cgroup.events).
func empty(cgroup string) bool {
	events, err := os.ReadFile(cgroup + "/cgroup.events")
	return os.IsNotExist(err) || err == nil && strings.Contains(string(events), "populated 0")
}
