package main

import (
	"context"
	"fmt"
	"log/slog"
	"os/user"
	"strconv"
	"time"

	"github.com/liveupdate/luod/internal/buslink"
	"github.com/liveupdate/luod/luod/internal/busbackend"
	"github.com/liveupdate/luod/luod/internal/callers"
)

// busUnit is the unit of luod-bus.
const busUnit = "luod-bus.service"

// mayBeBus returns nil if the process behind pidfd is one of luod-bus's unit.
func mayBeBus(pidfd int) error {
	unit, err := callers.Unit(pidfd)
	if err == nil && unit != busUnit {
		err = fmt.Errorf("it belongs to %s and not to %s", unit, busUnit)
	}
	return err
}

// openToBus has the group of luod-bus connect to luod. On a system that makes its users
// anew at each boot (systemd-sysusers.service) it may come later than luod.
func openToBus(ctx context.Context, log *slog.Logger) {
	said := false
	for {
		err := openToGroup()
		if err == nil {
			return
		}
		if !said {
			log.Warn("nobody reaches luod over the bus yet, since luod-bus may not connect; 'systemd-sysusers' makes its group", "error", err)
		}
		said = true
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return
		}
	}
}

func openToGroup() error {
	group, err := user.LookupGroup(busbackend.Group)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(group.Gid)
	if err != nil {
		return fmt.Errorf("read the number of the group %s: %w", busbackend.Group, err)
	}
	return busbackend.Open(buslink.Path, gid)
}
