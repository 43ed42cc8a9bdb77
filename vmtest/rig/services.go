package rig

import (
	_ "embed"
	"strings"

	"github.com/liveupdate/luod/vmtest/lab"
)

//go:embed plain.py
var plainProgram []byte

//go:embed services/store.py
var storePython []byte

//go:embed services/spare.py
var sparePython []byte

//go:embed services/late.py
var latePython []byte

//go:embed services/recreate.py
var recreatePython []byte

//go:embed services/store.sh
var storeShell []byte

// storeUnit is a service that only knows systemd's fd store.
const storeUnit = `[Unit]
Description=Service that keeps its state in the fd store
After=local-fs.target

[Service]
Type=notify
NotifyAccess=all
FileDescriptorStoreMax=8
RuntimeDirectory=%p
ExecStart=%COMMAND% /run/%p/state

[Install]
WantedBy=multi-user.target
`

// sandbox locks a service up as far as one that works can be.
const sandbox = `[Service]
DynamicUser=yes
PrivateUsers=yes
PrivateDevices=yes
PrivateNetwork=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectKernelTunables=yes
CapabilityBoundingSet=
NoNewPrivileges=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
SystemCallFilter=@system-service
UMask=0022
`

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
		{Path: "/usr/lib/luod-lab/store.py", Mode: 0o755, Data: storePython},
		{Path: "/usr/lib/luod-lab/late.py", Mode: 0o755, Data: latePython},
		storeService("late", "/usr/bin/python3 /usr/lib/luod-lab/late.py"),
		{Path: "/usr/lib/luod-lab/spare.py", Mode: 0o755, Data: sparePython},
		storeService("spare", "/usr/bin/python3 /usr/lib/luod-lab/spare.py"),
		{Path: "/usr/lib/luod-lab/store.sh", Mode: 0o755, Data: storeShell},
		{Path: "/usr/lib/luod-lab/recreate.py", Mode: 0o755, Data: recreatePython},
		storeService("recreate", "/usr/bin/python3 /usr/lib/luod-lab/recreate.py"),
		storeService("store-c", "/usr/lib/luod-lab/store"),
		storeService("store-python", "/usr/bin/python3 /usr/lib/luod-lab/store.py"),
		storeService("store-sandbox", "/usr/lib/luod-lab/store"),
		{Path: "/etc/systemd/system/store-sandbox.service.d/20-sandbox.conf", Mode: 0o644, Data: []byte(sandbox)},
		storeService("store-shell", "/usr/lib/luod-lab/poke --exec /usr/lib/luod-lab/store.sh"),
	}
}

func storeService(name, command string) lab.File {
	return lab.File{Path: "/etc/systemd/system/" + name + ".service", Mode: 0o644, Data: []byte(strings.ReplaceAll(storeUnit, "%COMMAND%", command))}
}
