package lab

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// Guest packages of this module. Others may stand beside them, see [GuestProgram].
const (
	guestPackages = "github.com/liveupdate/luod/vmtest/guest/"
	agentPackage  = guestPackages + "agent"
	agentPath     = "/usr/lib/luod-lab/agent"
	agentService  = "luod-lab-agent.service"
)

// agentUnit starts the agent last, so that its greeting means that luod and the bus had their chance to start. In a
// shutdown it is gone at once: the tests measure shutdowns.
const agentUnit = `[Unit]
Description=luod's lab: the test's hand in this machine
After=luod.service dbus.service

[Service]
ExecStart=` + agentPath + `
KillMode=mixed
TimeoutStopSec=2
Restart=on-failure
RestartSec=100ms

[Install]
WantedBy=multi-user.target
`

// GuestProgram compiles a command of this module statically and returns it as a file for [Spec.Files], in /usr/lib/luod-lab
// under the last part of its package's name. It works in a directory of this module, as tests are.
func GuestProgram(ctx context.Context, pkg string) (File, error) {
	data, err := compileGuest(ctx, pkg)
	return File{Path: "/usr/lib/luod-lab/" + path.Base(pkg), Mode: 0o755, Data: data}, err
}

func compileGuest(ctx context.Context, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "luod-lab-")
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", pkg, err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	// The same source gives the same bytes: they are part of the image's key.
	cmd := command(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w -buildid=", "-o", out, pkg)
	cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w: %s", pkg, cause(ctx, err), strings.TrimSpace(string(text)))
	}
	data, err := os.ReadFile(out)
	if err != nil {
		return nil, fmt.Errorf("compile %s: %w", pkg, err)
	}
	return data, nil
}

func agentFiles(ctx context.Context) ([]File, error) {
	program, err := compileGuest(ctx, agentPackage)
	if err != nil {
		return nil, err
	}
	return []File{
		{Path: agentPath, Mode: 0o755, Data: program},
		{Path: "/etc/systemd/system/" + agentService, Mode: 0o644, Data: []byte(agentUnit)},
	}, nil
}
