package vmtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// A bystander has nothing to do with luod, and says when it is stopped.
const bystander = `cat > /etc/systemd/system/bystander.service <<'E'
[Service]
ExecStart=sleep infinity
ExecStop=touch /var/lib/bystander-stopped
[Install]
WantedBy=multi-user.target
E
mkdir -p /etc/luod/hooks.d /usr/lib/luod/hooks.d /etc/keeper
cat > /etc/luod/hooks.d/10-log <<'E'
#!/bin/sh -e
echo "$* message=$LUOD_MESSAGE fast=$LUOD_FAST next=$LUOD_NEXT_KERNEL old=$LUOD_OLD_KERNEL reason=$LUOD_REASON" >> /var/lib/hooks.log
E
cat > /etc/luod/hooks.d/20-veto <<'E'
#!/bin/sh -e
[ "$1" != prepare ] || [ ! -e /run/veto ] || { echo it is noon >&2; exit 3; }
E
cat > /etc/luod/hooks.d/30-unload <<'E'
#!/bin/sh -e
[ "$1" != commit ] || [ ! -e /run/unload ] || /usr/lib/luod-lab/poke --unload
E
mkdir -p /etc/systemd/system/luod-jump.service.d
printf '[Service]\nExecStartPre=+/bin/sh -c "[ ! -e /run/unload-late ] || /usr/lib/luod-lab/poke --unload"\n' > /etc/systemd/system/luod-jump.service.d/50-unload.conf
printf '#!/bin/sh\nexit 1\n' > /usr/lib/luod/hooks.d/40-masked
chmod +x /etc/luod/hooks.d/* /usr/lib/luod/hooks.d/*
ln -s /dev/null /etc/luod/hooks.d/40-masked
for i in 1 2 3; do echo KEEPER_FILES=` + everyKind + ` > /etc/keeper/$i; done
echo 'KEEPER_ARGS="--register --session"' >> /etc/keeper/1
echo 'KEEPER_ARGS="--register --after=keeper@1.service"' >> /etc/keeper/2
systemctl daemon-reload
systemctl enable -q --now bystander keeper@1 keeper@2 keeper@3`

// refusedUpdate runs a command that must fail and say why.
func refusedUpdate(t *testing.T, r *rig.Rig, command, why string) {
	t.Helper()
	res := must(r.Run(t.Context(), command))(t)
	if res.Code == 0 || !strings.Contains(res.Stderr+res.Stdout, why) {
		t.Fatalf("%s: exit code %d: %s%s; want %q", command, res.Code, res.Stdout, res.Stderr, why)
	}
}

// A fast update: hooks hear of each phase and may veto, a jump that fails is taken
// back with the services started again, and one that doesn't leaves bystanders
// alone and every file system whole. A service's own session comes through too.
func TestFast(t *testing.T) {
	fast(t, lab.Trixie)
}

func TestFastWherePID1CarriesStores(t *testing.T) {
	repeats(t)
	r := fast(t, lab.Sid)
	// What PID 1 alone would carry is not given up.
	check(t, r.Load(t.Context(), r.Parts.Older))
	r.Sh(t, `systemctl stop keeper@1
systemd-run -q --unit native -p FileDescriptorStoreMax=8 -p FileDescriptorStorePreserve=yes -p NotifyAccess=all -p ExecStartPre='+/usr/lib/luod/luod-reissue --optional --memfd=x:4K' sleep infinity
systemctl show -P NFileDescriptorStore native | grep -qx 1`)
	refusedUpdate(t, r, "luoctl live-update --fast", "would otherwise carry the fd stores of native.service")
	// luod carries that of a unit that takes part, with what it stored last.
	r.Sh(t, `systemctl stop native; systemctl clean --what=fdstore native || true; luoctl enable store-c
printf '[Service]\nFileDescriptorStorePreserve=yes\n' > /etc/systemd/system/store-c.service.d/60-keep.conf; systemctl daemon-reload; systemctl enable -q --now store-c`)
	const state = "for i in $(seq 100); do systemctl is-active -q store-c && break; sleep 0.1; done; systemctl is-active -q store-c && cat /run/store-c/state"
	want := r.Sh(t, state)
	check(t, r.Load(t.Context(), r.Parts.Older))
	check(t, r.Jump(t.Context(), r.Parts.Older, "luoctl live-update --fast"))
	if now := r.Sh(t, state); now != want {
		t.Errorf("it has %q, and had %q", now, want)
	}
}

func fast(t *testing.T, suite lab.Suite) *rig.Rig {
	r := start(t, suite, false, 0)
	r.Sh(t, bystander+"\nluoctl enable "+storeUnits+"; systemctl enable -q --now "+storeUnits)
	before := must(r.Reports(t.Context(), 3))(t)
	stored := states(t, r)
	check(t, r.Load(t.Context(), r.Parts.Newer))

	const pids = "systemctl show -P MainPID bystander keeper@1 keeper@2 keeper@3"
	running := r.Sh(t, pids)
	r.Sh(t, "touch /run/veto")
	refusedUpdate(t, r, "luoctl live-update --fast", "hook 20-veto: exit status 3: it is noon")
	if now := r.Sh(t, pids); now != running {
		t.Fatalf("after a veto the services run as %q and ran as %q", now, running)
	}
	r.Sh(t, "rm /run/veto; ! test -e /run/keeper/told")

	// Somebody else unloads the kernel when everything is packed: nobody is stopped.
	r.Sh(t, "touch /run/unload")
	refusedUpdate(t, r, "luoctl live-update --fast", "somebody else has loaded or unloaded a kernel")
	r.Sh(t, `for i in $(seq 100); do [ "$(luoctl status --json | grep -c '"phase": "idle"')" = 1 ] && break; sleep 0.1; done; rm /run/unload`)
	if now := r.Sh(t, pids); now != running {
		t.Fatalf("when the kernel is gone the services run as %q and ran as %q", now, running)
	}

	// The kernel refuses to jump: all that were stopped run again.
	check(t, r.Load(t.Context(), r.Parts.Newer))
	r.Sh(t, "touch /run/unload-late; rm /run/keeper/*.json /run/store-*/state; systemctl show -P MainPID bystander > /run/bystander")
	res := must(r.Run(t.Context(), "luoctl live-update --fast"))(t)
	if res.Code != 0 {
		t.Fatalf("exit code %d: %s", res.Code, res.Stderr)
	}
	same(t, before, must(r.Reports(t.Context(), 3))(t))
	r.Sh(t, `for i in $(seq 100); do systemctl is-active -q keeper@1 && systemctl is-active -q keeper@2 && systemctl is-active -q keeper@3 && ! systemctl is-active -q luod-jump && [ "$(luoctl status --json | grep -c '"phase": "idle"')" = 1 ] && break; sleep 0.1; done
rm /run/unload-late; systemctl show -P MainPID bystander | cmp - /run/bystander && touch /var/lib/writable && sync && ! test -e /run/luod/frozen.json && ! systemctl is-failed -q luod-jump`)
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || !strings.Contains(s.LastError, "boot the loaded kernel") || !strings.Contains(s.LastError, "invalid argument") {
		t.Fatalf("%+v", s)
	}

	// PID 1 dropped the fd stores of those that were stopped.
	if now := states(t, r); now != stored {
		t.Fatalf("after the refused jump the stores have %q, and had %q", now, stored)
	}

	check(t, r.Load(t.Context(), r.Parts.Newer))
	check(t, r.Jump(t.Context(), r.Parts.Newer, "luoctl live-update --fast --message 'a new kernel'"))
	same(t, before, must(r.Reports(t.Context(), 3))(t))
	if now := states(t, r); now != stored {
		t.Errorf("after the update the stores have %q, and had %q", now, stored)
	}
	// Only the service's new one is open.
	r.Sh(t, "systemctl stop keeper@1; luoctl list | grep -Eq 'keeper@1.service +own .*session$'")
	if n := strings.TrimSpace(r.Sh(t, "ls -l /proc/$(systemctl show -P MainPID luod.service)/fd | grep -c luo_session")); n != "1" {
		t.Errorf("luod has %s sessions open", n)
	}
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || s.Generation != 1 || len(s.Lost) != 0 || s.Warning != "" || s.LastError != "" {
		t.Errorf("luod is not settled: %+v", s)
	}
	r.Sh(t, "! test -e /var/lib/bystander-stopped")
	if text := r.Sh(t, "dmesg | grep -E 'EXT4-fs.*(recover|orphan|error)' || true"); text != "" {
		t.Errorf("the file system was not whole: %s", text)
	}
	r.Sh(t, "for i in $(seq 100); do grep -q ^restore /var/lib/hooks.log && break; sleep 0.1; done")
	log := strings.Split(strings.TrimSpace(r.Sh(t, "cat /var/lib/hooks.log")), "\n")
	for _, want := range []string{
		"prepare 1 message= fast=true next=" + r.Parts.Newer.Release + " old= reason=",
		"prepare 1 message=a new kernel fast=true next=" + r.Parts.Newer.Release + " old= reason=",
		"commit 1 message=a new kernel fast=true next=" + r.Parts.Newer.Release + " old= reason=",
		"restore 1 message= fast= next= old=" + r.Parts.Older.Release + " reason=",
	} {
		if !slices.Contains(log, want) {
			t.Errorf("the hooks did not hear %q: %q", want, log)
		}
	}
	if n := strings.Count(strings.Join(log, "\n"), "cancel 1 "); n != 3 {
		t.Errorf("the hooks heard of %d cancelled updates, and there were 3: %q", n, log)
	}
	if text := r.Sh(t, "luoctl report; luoctl report --json; luoctl blame; luoctl plot; for i in $(seq 50); do [ -s /var/lib/luod/history/00000001.json ] && break; sleep 0.1; done; cat /var/lib/luod/history/00000001.json"); !strings.Contains(text, ": complete.") ||
		!strings.Contains(text, `"outcome": "preserved"`) || !strings.Contains(text, "packed → kernel started") || !strings.Contains(text, "<svg ") || !strings.Contains(text, `"complete":true`) {
		t.Errorf("the report: %s", text)
	}
	if text := r.Sh(t, "journalctl -b -x -q -u luod.service"); !strings.Contains(text, "This kernel was booted by live update 1 from "+r.Parts.Older.Release) {
		t.Errorf("the journal explains nothing: %s\n%s", text, r.Sh(t, "journalctl --list-catalog | grep -c luod; ls -l /var/lib/systemd/catalog /usr/lib/systemd/catalog; journalctl -b -u luod.service -o verbose | grep -B3 -A12 MESSAGE=restored"))
	}
	return r
}
