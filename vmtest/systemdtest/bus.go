package systemdtest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/dbus"
	godbus "github.com/godbus/dbus/v5"
)

// relayPath is where the relay of vmtest/guest/busrelay listens.
const relayPath = "/run/luod-systemdtest-bus"

// startRelay starts the relay in the system, as a child of PID 1 and in no unit; a shutdown or soft-reboot ends it.
func (s *System) startRelay() error {
	cmd := exec.Command("nsenter", s.enter("/bin/sh", "-ec", "/usr/lib/luod-lab/busrelay "+relayPath+" </dev/null &")...)
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("start the relay to PID 1: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the relay to PID 1: %w", err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if e := cmd.Wait(); err == nil {
		err = e
	}
	if err == nil && strings.TrimSpace(line) != "ready" {
		err = errors.New(line)
	}
	if err != nil {
		return fmt.Errorf("start the relay to PID 1: %w", err)
	}
	return nil
}

// dial connects to PID 1's own socket; the caller closes it.
func (s *System) dial(ctx context.Context) (*godbus.Conn, error) {
	c, err := godbus.Dial("unix:path="+filepath.Join(s.Root(), relayPath), godbus.WithContext(ctx))
	if err != nil {
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	if err := c.Auth([]godbus.Auth{godbus.AuthExternal("0")}); err != nil {
		c.Close()
		return nil, fmt.Errorf("connect to PID 1: %w", err)
	}
	return c, nil
}

// Manager connects to PID 1, which is quicker than running systemctl; the caller closes it.
func (s *System) Manager(ctx context.Context) (*dbus.Conn, error) {
	return dbus.NewConnection(func() (*godbus.Conn, error) { return s.dial(ctx) })
}
