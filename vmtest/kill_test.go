package vmtest

import (
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// kill ends luod without a word and waits for the next one.
const kill = `old=$(systemctl show -P MainPID luod.service); kill -9 $old
for i in $(seq 100); do
  new=$(systemctl show -P MainPID luod.service)
  [ $new != 0 ] && [ $new != $old ] && [ "$(systemctl is-active luod.service)" = active ] && break
  sleep 0.1
done
[ $new != 0 ] && [ $new != $old ]`

func TestLuodKilledBeforePackingLosesNothing(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 2)
	r.Sh(t, "systemctl enable -q --now plain.service")
	before := must(r.Reports(t.Context(), 3))(t)
	const pids = "systemctl show -P MainPID plain.service keeper@1.service keeper@2.service"
	running := r.Sh(t, pids)
	r.Sh(t, kill)
	if now := r.Sh(t, pids); now != running {
		t.Errorf("the services run as %q and ran as %q: luod's restart restarted them", now, running)
	}
	r.Sh(t, "rm -r /run/keeper; systemctl restart plain.service 'keeper@*'")
	same(t, before, must(r.Reports(t.Context(), 3))(t))
	walk(t, r, 3, r.Parts.Newer)
}

// holdShutdown keeps the shutdown waiting for some seconds, so that there is a
// time after the commit to do something in. Being ordered after luod it also
// keeps PID 1 from restarting a killed luod until the very end.
const holdShutdown = `cat > /run/systemd/system/slow.service <<'E'
[Unit]
After=luod.service
[Service]
ExecStart=/bin/sleep infinity
ExecStop=/bin/sleep %SECONDS%
TimeoutStopSec=90
E
systemctl daemon-reload; systemctl start slow.service
`

func hold(seconds string) string { return strings.ReplaceAll(holdShutdown, "%SECONDS%", seconds) }

// outside runs a script that the shutdown does not end.
func outside(script string) string {
	return "cat > /run/outside.sh <<'E'\n" + script + "\nE\nsystemd-run -q -p DefaultDependencies=no -p IgnoreOnIsolate=yes sh /run/outside.sh"
}

func TestLuodKilledAfterPackingLosesNothing(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 2)
	before := must(r.Reports(t.Context(), 2))(t)
	r.Sh(t, hold("8"))
	check(t, r.Load(t.Context(), r.Parts.Newer))
	check(t, r.Jump(t.Context(), r.Parts.Newer, outside(`luoctl live-update > /run/outside.out 2>&1
old=$(systemctl show -P MainPID luod.service)
kill -9 $old
echo "luod was killed: $old" > /dev/console`)))
	if !strings.Contains(r.ConsoleTail(1000), "luod was killed: ") {
		t.Error("luod was not killed during the shutdown: the test proves nothing")
	}
	same(t, before, must(r.Reports(t.Context(), 2))(t))
	settled(t, r, 1)
}

// inherited lists luod's descriptors that are not close-on-exec; those that it has just
// got from the kernel must be so too.
const inherited = `cd /proc/$(systemctl show -P MainPID luod.service)/fdinfo
for fd in *; do
	flags=$(sed -n 's/^flags:[[:space:]]*//p' $fd) || continue
	[ $fd -le 2 ] || [ $((0$flags & 02000000)) -ne 0 ] || echo "$fd $flags $(readlink ../fd/$fd)"
done`

// quicker has the device open before luod is started, and until it is stopped.
const quicker = `cat > /etc/systemd/system/quicker.service <<'E'
[Unit]
DefaultDependencies=no
Before=luod.service
[Service]
Type=notify
NotifyAccess=all
ExecStart=sh -c 'exec 9<>/dev/liveupdate; systemd-notify --ready; exec sleep infinity'
[Install]
WantedBy=sysinit.target
E
systemctl daemon-reload; systemctl enable -q quicker`

// busy checks that luod says loudly, and everywhere, that it could not restore, and
// that nobody is told to have nothing.
func busy(t *testing.T, r *rig.Rig) {
	t.Helper()
	said := r.Sh(t, `luoctl status || true; systemctl status luod.service; journalctl -b -q -p err -u luod.service`)
	if n := strings.Count(said, "another process has the device open"); n < 3 {
		t.Errorf("it is said %d times:\n%s", n, said)
	}
	if banner := r.Sh(t, "cat /run/issue.d/50-luod.issue /run/motd.d/50-luod"); strings.Count(banner, "don't reboot") != 2 {
		t.Errorf("who logs in reads %q", banner)
	}
	refusedUpdate(t, r, "luoctl live-update", "restored yet")
	// One waits, also through a restart of luod, one gives up soon, and one starts without.
	text := r.Sh(t, `systemctl start --no-block plain.service
once() { systemd-run -q --wait --collect -p NotifyAccess=exec -p FileDescriptorStoreMax=8 -p "ExecStartPre=+/usr/lib/luod/luod-reissue $*" -u once true && echo "started with $*"; }
once --timeout=1s 2>&1 || true; once --timeout=1s --optional --memfd=x:4K; journalctl -b -q -o cat -u once | sort -u
systemctl is-active plain.service || true; systemctl is-active multi-user.target`)
	if strings.Contains(text, "started with --timeout=1s\n") || !strings.Contains(text, "started with --timeout=1s --optional") || !strings.Contains(text, "what once.service has") || !strings.HasSuffix(text, "activating\nactive\n") {
		t.Errorf("units that ask:\n%s", text)
	}
}

func TestLuodKilledAfterRetrievalLosesNothing(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 2)
	r.Sh(t, "mkdir -p /etc/luod/luod.conf.d; printf '[LiveUpdate]\nLoginBanner=yes\n' > /etc/luod/luod.conf.d/50-banner.conf; systemctl start plain; "+quicker)
	before := must(r.Reports(t.Context(), 3))(t)
	// Nobody fetches anything after the jump until we say so.
	r.Sh(t, "systemctl disable -q keeper@1.service keeper@2.service")
	check(t, r.Update(t.Context(), r.Parts.Newer))
	busy(t, r)
	r.Sh(t, kill)
	refusedUpdate(t, r, "luoctl live-update", "restored yet")
	r.Sh(t, "systemctl stop quicker; for i in $(seq 100); do systemctl is-active -q plain && break; sleep 0.1; done; systemctl is-active -q plain && ! ls /run/issue.d/50-luod.issue /run/motd.d/50-luod 2>/dev/null")
	if s := must(r.Status(t.Context()))(t); s.Phase != "restoring" || len(s.Waiting) != 2 {
		t.Fatalf("after the jump: %+v", s)
	}
	if inherited := r.Sh(t, inherited); inherited != "" {
		t.Errorf("programs that luod runs would inherit:\n%s", inherited)
	}
	r.Sh(t, kill)
	if s := must(r.Status(t.Context()))(t); s.Phase != "restoring" || len(s.Waiting) != 2 || s.Generation != 1 {
		t.Fatalf("after the first kill: %+v", s)
	}
	r.Sh(t, "systemctl start keeper@1.service")
	r.Sh(t, kill)
	if s := must(r.Status(t.Context()))(t); s.Phase != "restoring" || len(s.Waiting) != 1 {
		t.Fatalf("after one has fetched and the second kill: %+v", s)
	}
	r.Sh(t, "systemctl start keeper@2.service")
	same(t, before, must(r.Reports(t.Context(), 3))(t))
	settled(t, r, 1)
	// Who can do without luod doesn't wait for one that was stopped.
	r.Sh(t, `systemctl stop luod.service; systemd-run -q --wait -p NotifyAccess=exec -p FileDescriptorStoreMax=8 -p "ExecStartPre=+/usr/lib/luod/luod-reissue --optional --memfd=x:4K" -p TimeoutStartSec=5 true; systemctl start luod.service`)
	settled(t, r, 1)
}

// killLate kills luod when systemd-shutdown has taken PID 1's place. Like luod it is
// spared by the final kill.
const killLate = `cat > /run/systemd/system/killer.service <<E
[Unit]
DefaultDependencies=no
IgnoreOnIsolate=yes
[Service]
ExecStart=@/usr/lib/luod-lab/poke @poke --kill-in-shutdown=$(systemctl show -P MainPID luod.service)
E
systemctl daemon-reload; systemctl daemon-reload; systemctl start killer.service`

// A shutdown that is cancelled is taken back, and costs nobody what it had, fd stores
// that PID 1 has dropped in it neither. Nor does it cost anything that luod dies in the
// last second of one that is not.
func TestACancelledShutdownIsTakenBack(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	enable(t, r, 1)
	r.Sh(t, "luoctl enable "+storeUnits+"; systemctl enable -q --now "+storeUnits)
	before := must(r.Reports(t.Context(), 1))(t)
	r.Sh(t, hold("60"))
	// PID 1 has turned the stores around when it read its files.
	r.Sh(t, "systemctl restart "+storeUnits)
	stored := states(t, r)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	r.Sh(t, outside(`luoctl live-update > /run/outside.out 2>&1
sleep 3
systemctl cancel
systemctl kill -s KILL slow.service
sleep 1
systemctl start --no-block dbus.service multi-user.target`))
	var s rig.Status
	for range 40 {
		time.Sleep(time.Second)
		res, err := r.Run(t.Context(), "luoctl status --json")
		if err != nil || res.Code != 0 {
			continue
		}
		if s, _ = r.Status(t.Context()); s.LastError != "" {
			break
		}
	}
	if s.Phase != "idle" || !strings.Contains(s.LastError, "canceled") {
		t.Fatalf("after the cancellation: %+v", s)
	}
	r.Sh(t, "rm -rf /run/keeper /run/store-*/state; systemctl restart keeper@1.service "+storeUnits)
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	if now := states(t, r); now != stored {
		t.Errorf("after the cancellation the stores have %q, and had %q", now, stored)
	}
	// Nothing stays preserved, and nobody holds a session.
	r.Sh(t, `[ "$(systemctl is-active luod-hold.service)" = inactive ] && ! ls -l /proc/[0-9]*/fd 2>/dev/null | grep luo_session`)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	r.Sh(t, killLate)
	check(t, r.Jump(t.Context(), r.Parts.Newer, "luoctl live-update"))
	if !strings.Contains(r.ConsoleTail(1000), "killed in the last second: ") || strings.Contains(r.ConsoleTail(1000), "no such process") {
		t.Error("luod was not killed in the last second: the test proves nothing")
	}
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	if now := states(t, r); now != stored {
		t.Errorf("after the update the stores have %q, and had %q", now, stored)
	}
	settled(t, r, 1)
}
