package vmtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

// killIn kills luod as soon as an update is in a phase, and waits until the next
// luod has taken it back and started again what was stopped.
func killIn(phase string) string {
	return fmt.Sprintf(`set -e
luoctl live-update --fast >/run/luoctl.out 2>&1 &
until [[ $(</run/luod/record.json) == *'"phase": "%s"'* ]]; do [ -d /proc/$! ] || { cat /run/luoctl.out; exit 1; }; done
%s
wait || true
for i in $(seq 100); do luoctl status --json | grep -q '"phase": "idle"' && systemctl -q is-active keeper@1 && systemctl -q is-active keeper@2 && break; sleep 0.1; done`, phase, kill)
}

// Whatever happens to luod, the bus, or /run in the middle of an update: services
// run on with what they have, and a later update brings it through.
func TestTroubleInTheMiddleOfAnUpdate(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	r.Sh(t, `mkdir -p /etc/keeper /etc/luod/hooks.d /etc/systemd/system/keeper@1.service.d /etc/systemd/system/luod-jump.service.d
for i in 1 2; do echo KEEPER_FILES=`+everyKind+` > /etc/keeper/$i; echo 'KEEPER_ARGS="--register --timeout=4s"' >> /etc/keeper/$i; done
printf '[Service]\nExecStop=sleep 2\n' > /etc/systemd/system/keeper@1.service.d/50-slow.conf
printf '[Service]\nExecStartPre=sleep 3\n' > /etc/systemd/system/luod-jump.service.d/50-slow.conf
printf '#!/bin/sh\n[ $1 != commit ] || sleep 2\n' > /etc/luod/hooks.d/10-slow; chmod +x /etc/luod/hooks.d/10-slow
systemctl daemon-reload
systemctl enable -q --now keeper@1 keeper@2`)
	before := must(r.Reports(t.Context(), 2))(t)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	const pids = "systemctl show -P MainPID keeper@1 keeper@2"
	running := r.Sh(t, pids)
	asBefore := func(what, why string) {
		t.Helper()
		s := must(r.Status(t.Context()))(t)
		if s.Phase != "idle" || s.Generation != 0 || !strings.Contains(s.LastError, why) {
			t.Fatalf("%s: %+v, want %q", what, s, why)
		}
		if n := strings.TrimSpace(r.Sh(t, "ls -l /proc/$(systemctl show -P MainPID luod.service)/fd | grep -c luo_session || true")); n != "0" {
			t.Errorf("%s: %s sessions are open", what, n)
		}
		if now := r.Sh(t, pids); now != running {
			t.Errorf("%s: the services run as %q and ran as %q", what, now, running)
		}
	}
	for _, phase := range []string{"checking", "preparing", "packing"} {
		if phase == "preparing" {
			r.Sh(t, "echo hang > /run/keeper/keeper@1.service.mode")
		}
		r.Sh(t, "exec bash <<'E'\n"+killIn(phase)+"\nE")
		asBefore("luod killed while "+phase, "was "+phase+": it was taken back")
		r.Sh(t, "rm -f /run/keeper/*.mode")
	}
	// /run is full: nothing is begun that could not be written down.
	r.Sh(t, "dd if=/dev/zero of=/run/full bs=64K 2>/dev/null || true")
	refusedUpdate(t, r, "luoctl live-update", "no space left")
	r.Sh(t, "rm /run/full")
	if now := r.Sh(t, pids); now != running {
		t.Errorf("/run is full: the services run as %q and ran as %q", now, running)
	}
	// The bus goes while services are asked, and their answers with it. logind does
	// not come back on its own.
	r.Sh(t, "echo hang > /run/keeper/keeper@1.service.mode; luoctl live-update --no-block; systemctl restart dbus.service; systemctl restart systemd-logind.service; for i in $(seq 100); do luoctl status --json 2>/dev/null | grep -q '\"phase\": \"idle\"' && break; sleep 0.2; done; rm /run/keeper/*.mode")
	asBefore("the bus restarted", "did not say Ready within 4s")
	// Killed with services stopped: they are started again, with what they had.
	r.Sh(t, "rm -f /run/keeper/*.json; systemctl restart keeper@1 keeper@2")
	same(t, before, must(r.Reports(t.Context(), 2))(t))
	r.Sh(t, "rm -f /run/keeper/*.json")
	r.Sh(t, "exec bash <<'E'\n"+killIn("stopping")+"\nE")
	same(t, before, must(r.Reports(t.Context(), 2))(t))
	running = r.Sh(t, pids)
	asBefore("luod killed while stopping", "was stopping: it was taken back")
	// Killed after the commit: it goes on.
	check(t, r.Jump(t.Context(), r.Parts.Newer, "exec bash <<'E'\n"+strings.Split(killIn("committed"), "\nwait ||")[0]+"\nE"))
	same(t, before, must(r.Reports(t.Context(), 2))(t))
	settled(t, r, 1)
}
