package main

import (
	"fmt"
	"log/slog"
	"os/user"
	"strconv"

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

// groupOfBus is the group that may connect to luod as luod-bus does, or -1: then only root
// may, and there is nothing on the bus.
func groupOfBus(log *slog.Logger) int {
	group, err := user.LookupGroup(busbackend.Group)
	if err == nil {
		var gid int
		if gid, err = strconv.Atoi(group.Gid); err == nil {
			return gid
		}
	}
	log.Error("luod-bus can't connect, so that nobody reaches luod over the bus: its group is missing; 'systemd-sysusers' makes it, and then 'systemctl restart luod.service'", "group", busbackend.Group, "error", err)
	return -1
}
