package rig

import (
	_ "embed"

	"github.com/liveupdate/luod/vmtest/lab"
)

//go:embed plain.py
var plainProgram []byte

// keeperUnit is a Go service that uses D-Bus. Its instances differ in what they
// fill their memory with; KEEPER_FILES says how much of it.
const keeperUnit = `[Unit]
Description=Service with memory %i
After=luod.service dbus.service
Wants=luod.service

[Service]
Type=notify
Environment=KEEPER_FILES=data:4096
Environment=KEEPER_ARGS=
EnvironmentFile=-/etc/keeper/%i
ExecStart=/usr/lib/luod-lab/keeper --unit %n --files ${KEEPER_FILES} $KEEPER_ARGS
TimeoutStartSec=100

[Install]
WantedBy=multi-user.target
`

// plainUnit is a service that knows only $LISTEN_FDS.
const plainUnit = `[Unit]
Description=Service that knows only LISTEN_FDS
Wants=luod.service
After=luod.service

[Service]
NotifyAccess=exec
FileDescriptorStoreMax=8
ExecStartPre=+/usr/lib/luod/luod-reissue --memfd=table:1M --memfd=index:4K
ExecStart=/usr/bin/python3 /usr/lib/luod-lab/plain.py /run/keeper/plain.service.json

[Install]
WantedBy=multi-user.target
`

func serviceFiles() []lab.File {
	return []lab.File{
		{Path: "/usr/lib/luod-lab/plain.py", Mode: 0o755, Data: plainProgram},
		{Path: "/etc/systemd/system/keeper@.service", Mode: 0o644, Data: []byte(keeperUnit)},
		{Path: "/etc/systemd/system/plain.service", Mode: 0o644, Data: []byte(plainUnit)},
	}
}
