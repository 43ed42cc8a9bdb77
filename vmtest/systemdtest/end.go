package systemdtest

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Kill ends the system as a power failure does. It may have ended before.
func (s *System) Kill() {
	s.t.Helper()
	if err := unix.Kill(s.pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		s.t.Errorf("kill the system: %v", err)
	}
	s.wait(10 * time.Second)
}

// Shutdown has PID 1 shut down, by a verb of systemctl such as poweroff or reboot, and waits for the end. The kernel ends a PID namespace
// with SIGINT when it is powered off, and with SIGHUP when it reboots (pid_namespaces(7)).
func (s *System) Shutdown(verb string) syscall.Signal {
	s.t.Helper()
	// What asks may be killed before it is answered.
	if _, err := s.Run("systemctl --no-block " + verb); err != nil {
		s.t.Fatal(err)
	}
	s.wait(60 * time.Second)
	if !s.status.Signaled() {
		s.t.Fatalf("PID 1 ended with exit code %d instead of shutting down", s.status.ExitStatus())
	}
	return s.status.Signal()
}

// SoftReboot has PID 1 end all but itself and boot userspace once more, and waits for that.
func (s *System) SoftReboot() {
	s.t.Helper()
	if _, err := s.Run("systemctl --no-block soft-reboot"); err != nil {
		s.t.Fatal(err)
	}
	s.waitBoot()
	if err := s.startRelay(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *System) wait(patience time.Duration) {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Errorf("the system did not end within %s", patience)
		s.t.FailNow()
	}
}
