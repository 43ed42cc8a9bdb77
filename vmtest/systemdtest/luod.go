package systemdtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/luo/luofake/outside"
	"github.com/liveupdate/luod/vmtest/lab"
)

// Luod is a system with luod whose kernel is a fake that lives outside of it.
type Luod struct {
	*System
	server  *outside.Server
	options Options
}

// LastSecond is run by the last process of a system but PID 1, just before the jump.
func LastSecond(script string) lab.File {
	return lab.File{Path: "/usr/lib/luod-lab/last-second", Mode: 0o755, Data: []byte("#!/bin/sh\nset -e\n" + script)}
}

// BootLuod boots a system with luod, on kernel.
//
// What it is not: luod-kexec and its checks are left out, any kernel is good; and as there is no reboot(2) to another
// kernel in a namespace, a fast jump fails, and systemd-kexec.service has PID 1 reboot, which is the same until
// the last moment. Systemd 261 and newer carry nothing by themselves.
func BootLuod(t testing.TB, o Options, kernel *luofake.Kernel) *Luod {
	t.Helper()
	need(t, o.Suite, o.Packages...)
	files, err := luodFiles()
	if err != nil {
		t.Fatal(err)
	}
	o.Files = slices.Concat(o.Files, files, []lab.File{jumpHook(t)})
	o.Wants = append(slices.Clip(o.Wants), "luod.service", "dbus.service")
	return bootOn(t, o, kernel, "root=fake")
}

func bootOn(t testing.TB, o Options, kernel *luofake.Kernel, line string) *Luod {
	t.Helper()
	dir := t.TempDir()
	server, err := outside.Serve(filepath.Join(dir, "luo"), kernel)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	o.outside, o.commandLine = dir, line
	o.Files = append(slices.Clip(o.Files), unsandboxed)
	return &Luod{Boot(t, o), server, o}
}

// Jump runs a command that begins an update, waits for the end of the system, and boots another on the next kernel. The command need
// not succeed: it may lose its bus or be killed first.
func (l *Luod) Jump(command string) *Luod {
	l.t.Helper()
	r, err := l.Run(command)
	select {
	case <-l.ended:
	case <-time.After(bootTimeout):
		l.t.Fatalf("the system did not end after %q: %v, exit code %d: %s%s", command, err, r.Code, r.Stdout, r.Stderr)
	}
	next, line := l.server.Next()
	if next == nil {
		l.t.Fatalf("the system ended without a jump after %q: %v, exit code %d: %s%s", command, err, r.Code, r.Stdout, r.Stderr)
	}
	return bootOn(l.t, l.options, next, line)
}

// unsandboxed takes from luod-bus what needs a mount namespace: PID 1 can make none here, since it has no /dev to mount. A virtual
// machine has all of it.
var unsandboxed = unitFile("luod-bus.service.d/99-lab.conf", noSandbox)

const noSandbox = `[Service]
ProtectSystem=no
ProtectHome=no
InaccessiblePaths=
PrivateDevices=no
PrivateIPC=no
PrivateUsers=no
ProtectProc=default
ProcSubset=all
ProtectKernelTunables=no
ProtectKernelModules=no
ProtectKernelLogs=no
ProtectControlGroups=no
ProtectHostname=no
PrivateTmp=no
PrivateNetwork=no
`

func jumpHook(t testing.TB) lab.File {
	f := Program(t, "github.com/liveupdate/luod/vmtest/guest/fakejump")
	f.Path = "/usr/lib/systemd/system-shutdown/fakejump"
	return f
}

// luodFiles are those of luod's package, but for what the fake kernel takes.
var luodFiles = sync.OnceValues(func() ([]lab.File, error) {
	mod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		return nil, fmt.Errorf("find the module: %w", err)
	}
	top := filepath.Dir(strings.TrimSpace(string(mod)))
	dir, err := os.MkdirTemp("", ownPattern())
	if err != nil {
		return nil, fmt.Errorf("build luod: %w", err)
	}
	defer os.RemoveAll(dir)
	var files []lab.File
	for pkg, path := range map[string]string{
		"luod": "/usr/lib/luod/luod", "luod/luod-bus": "/usr/lib/luod/luod-bus", "hooks/luod-logind": "/usr/lib/luod/luod-logind", "luoctl": "/usr/bin/luoctl", "hooks/luod-reissue": "/usr/lib/luod/luod-reissue",
		"hooks/luod-adopt": "/usr/lib/luod/luod-adopt", "hooks/luod-hooks": "/usr/lib/luod/luod-hooks", "hooks/luod-jump": "/usr/lib/luod/luod-jump",
		"hooks/luod-hold": "/usr/lib/luod/luod-hold",
	} {
		out := filepath.Join(dir, filepath.Base(path))
		cmd := exec.Command("go", "build", "-tags=luofake", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", out, "./"+pkg)
		cmd.Dir, cmd.Env = top, append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build %s: %w: %s", pkg, err, text)
		}
		data, err := os.ReadFile(out)
		if err != nil {
			return nil, fmt.Errorf("build %s: %w", pkg, err)
		}
		files = append(files, lab.File{Path: path, Mode: 0o755, Data: data})
	}
	for _, name := range []string{"luod.service", "luod-bus.service", "live-update.target", "luod-live-update.service", "luod-jump.service", "luod-hold.service", "luod-restore.target", "luod-continue.service"} {
		files = append(files, lab.File{Path: "/usr/lib/systemd/system/" + name, Mode: 0o644, Source: filepath.Join(top, "units", name)})
	}
	return append(files,
		lab.File{Path: "/usr/lib/systemd/system/systemd-kexec.service.d/50-luod.conf", Mode: 0o644, Source: filepath.Join(top, "units/systemd-kexec-luod.conf")},
		lab.File{Path: "/usr/share/dbus-1/system.d/org.luod.LiveUpdate1.conf", Mode: 0o644, Source: filepath.Join(top, "packaging/org.luod.LiveUpdate1.conf")},
		lab.File{Path: "/usr/share/dbus-1/system-services/org.luod.LiveUpdate1.service", Mode: 0o644, Source: filepath.Join(top, "packaging/org.luod.LiveUpdate1.service")},
		lab.File{Path: "/usr/lib/sysusers.d/luod.conf", Mode: 0o644, Source: filepath.Join(top, "packaging/luod.sysusers")},
		unitFile("systemd-kexec.service.d/99-fake.conf", "[Service]\nExecStart=\nExecStart=systemctl --force reboot\n"),
	), nil
})
