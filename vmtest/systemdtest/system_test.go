package systemdtest

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
)

// each runs a test on each suite's systemd, at the same time.
func each(t *testing.T, test func(t *testing.T, suite lab.Suite)) {
	for _, suite := range lab.Suites {
		t.Run(string(suite), func(t *testing.T) {
			need(t, suite)
			t.Parallel()
			test(t, suite)
		})
	}
}

func TestItBootsStopsAndLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		var s *System
		t.Run("system", func(t *testing.T) {
			began := time.Now()
			s = Boot(t, Options{Suite: suite, Wants: []string{"hello.service"}, Units: map[string]string{
				"hello.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo hello >/run/hello'\n",
			}})
			t.Logf("booted in %s", time.Since(began).Round(time.Millisecond))
			if got := s.Do("cat /run/hello; systemctl is-active hello.service; cat /proc/1/comm; touch /etc/written"); got != "hello\nactive\nsystemd" {
				t.Errorf("got %q", got)
			}
			if failed := s.Do("systemctl list-units --state=failed --plain --no-legend"); failed != "" {
				t.Errorf("units have failed:\n%s", failed)
			}
			tree := need(t, suite)
			if _, err := os.Stat(tree + "/etc/written"); !os.IsNotExist(err) {
				t.Errorf("the tree was written to: %v", err)
			}
			r, err := s.Run("echo out; echo err >&2; false; echo no")
			if err != nil || r != (Result{Stdout: "out\n", Stderr: "err\n", Code: 1}) {
				t.Errorf("got %+v, %v", r, err)
			}
		})
		if _, err := os.Stat(s.cgroup); !os.IsNotExist(err) {
			t.Errorf("its cgroup is left: %v", err)
		}
		if err := syscall.Kill(s.pid, 0); err != syscall.ESRCH {
			t.Errorf("it runs on: %v", err)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil || strings.Contains(string(mounts), s.log.path[:strings.LastIndex(s.log.path, "/")]) {
			t.Errorf("mounts are left: %s, %v", mounts, err)
		}
	})
}

func TestItShutsDownAsToldAndSoftReboots(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		s := Boot(t, Options{Suite: suite, Wants: []string{"hello.service"}, Units: map[string]string{
			"hello.service": "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo hello >>/run/hello'\nExecStop=/bin/sh -c 'echo bye >>/run/hello'\n",
		}})
		s.SoftReboot()
		if got := s.Do("cat /run/hello"); got != "hello\nbye\nhello" {
			t.Errorf("got %q", got)
		}
		if got := s.Shutdown("poweroff"); got != syscall.SIGINT {
			t.Errorf("it ended with %v", got)
		}
		if got := Boot(t, Options{Suite: suite}).Shutdown("reboot"); got != syscall.SIGHUP {
			t.Errorf("it ended with %v", got)
		}
	})
}
