package vmtest

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// told returns what services were told since the last call.
func told(t *testing.T, r *rig.Rig) []string {
	t.Helper()
	return strings.Split(strings.TrimSpace(r.Sh(t, "cat /run/keeper/told; rm -f /run/keeper/told")), "\n")
}

// Eight services: 2 after 1, 3 after 2, the others whenever; 8 may be left
// behind. Nobody moves while one of the others isn't ready, everybody runs on
// with the same bytes and the same process, and in the end all go.
func TestEveryoneIsReadyOrNobodyMoves(t *testing.T) {
	const services = 8
	r := start(t, lab.Trixie, false, 0)
	r.Sh(t, `mkdir -p /etc/keeper
for i in 1 2 3 4 5 6 7 8; do echo KEEPER_FILES=`+everyKind+` > /etc/keeper/$i; echo 'KEEPER_ARGS="--register --timeout=4s"' >> /etc/keeper/$i; done
echo 'KEEPER_ARGS="--register --timeout=4s --after=keeper@1.service"' >> /etc/keeper/2
echo 'KEEPER_ARGS="--register --timeout=4s --after=keeper@2.service"' >> /etc/keeper/3
echo 'KEEPER_ARGS="--register"' >> /etc/keeper/8
mkdir -p /etc/systemd/system/keeper@8.service.d
printf '[X-LiveUpdate]\nPreserve=dbus\nTimeoutSec=4\nOnFailure=ignore\n' > /etc/systemd/system/keeper@8.service.d/50-live-update.conf
systemctl daemon-reload
systemctl enable -q $(seq -f 'keeper@%g.service' 8)
systemctl start --no-block $(seq -f 'keeper@%g.service' 8)`)
	before := must(r.Reports(t.Context(), services))(t)
	pids := "systemctl show -P MainPID $(seq -f 'keeper@%g.service' 8)"
	running := r.Sh(t, pids)
	check(t, r.Load(t.Context(), r.Parts.Newer))
	// The kernel's count proves that what is loaded is what luod loaded; where it
	// doesn't, the kernel is loaded again.
	left := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(r.Sh(t, "cat /proc/sys/kernel/kexec_load_limit_reboot")); got != want {
			t.Errorf("%s more kernels may be loaded, want %s", got, want)
		}
	}
	left(strconv.Itoa(math.MaxInt32 - 1))

	refused := func(name, script, why string) {
		t.Helper()
		res, err := r.Run(t.Context(), script)
		check(t, err)
		if res.Code == 0 || !strings.Contains(res.Stderr+res.Stdout, why) {
			t.Fatalf("%s: exit code %d: %s%s; want %q", name, res.Code, res.Stdout, res.Stderr, why)
		}
		// Services hear of it a moment after luoctl does.
		r.Sh(t, `for i in $(seq 50); do [ "$(luoctl status --json | grep -c '"phase": "idle"')" = 1 ] && break; sleep 0.1; done`)
		if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || !strings.Contains(s.LastError, why) {
			t.Fatalf("%s: %+v", name, s)
		}
		if now := r.Sh(t, pids); now != running {
			t.Fatalf("%s: the services run as %q and ran as %q", name, now, running)
		}
		if sessions := r.Sh(t, "ls -l /proc/$(systemctl show -P MainPID luod.service)/fd | grep -c luo_session || true"); strings.TrimSpace(sessions) != "0" {
			t.Fatalf("%s: %s sessions are still open", name, sessions)
		}
	}
	refused("a veto", "echo veto it is noon > /run/keeper/keeper@5.service.mode; luoctl live-update", "keeper@5.service: it says: it is noon")
	heard := told(t, r)
	for i := range services {
		if unit := fmt.Sprintf("keeper@%d.service", i+1); slices.Contains(heard, unit+" prepare") && !slices.Contains(heard, unit+" cancelled") {
			t.Errorf("%s was asked and not told that it was taken back: %q", unit, heard)
		}
	}
	left(strconv.Itoa(math.MaxInt32 - 1))
	r.Sh(t, "echo 9 > /proc/sys/kernel/kexec_load_limit_reboot")
	refused("one hangs", "echo hang > /run/keeper/keeper@5.service.mode; luoctl live-update", "keeper@5.service: it did not say Ready within 4s")
	left("8")
	const preparing = `luoctl live-update & for i in $(seq 100); do luoctl status --json | grep -q '"phase": "preparing"' && break; sleep 0.05; done; `
	refused("a cancellation", preparing+"luoctl cancel --message 'changed my mind'; wait $!", "changed my mind")
	left("8")
	refused("Ctrl-C", preparing+"kill -INT $!; wait $!", "Ctrl-C")
	// What a unit file says is read, and if it can't be, nothing begins.
	const dropIn = "/etc/systemd/system/keeper@7.service.d/50-live-update.conf"
	r.Sh(t, "D="+dropIn+"; mkdir -p ${D%/*}; printf '[X-LiveUpdate]\nTimeoutSec=soon\n' > $D; systemctl daemon-reload")
	refused("a bad declaration", "luoctl live-update", dropIn+":2: TimeoutSec=soon")
	r.Sh(t, "rm -r /etc/systemd/system/keeper@7.service.d; systemctl daemon-reload")
	// Who inhibits, here or at logind, is honoured and named.
	for _, inhibit := range []string{"luoctl inhibit --who backup --why 'it runs'", "systemd-inhibit --what=shutdown --who=backup --why='it runs' --mode=block"} {
		r.Sh(t, "systemd-run -q --unit=inhibited "+inhibit+" sleep infinity; for i in $(seq 50); do luoctl list-inhibitors | grep -q backup && break; sleep 0.1; done; luoctl list-inhibitors | grep -q backup")
		// A killed luod still knows of it.
		r.Sh(t, kill)
		res := must(r.Run(t.Context(), "luoctl live-update"))(t)
		if res.Code == 0 || !strings.Contains(res.Stderr, "inhibited by backup") || !strings.Contains(res.Stderr, "it runs") {
			t.Errorf("%s: exit code %d: %s", inhibit, res.Code, res.Stderr)
		}
		r.Sh(t, "systemctl stop inhibited; for i in $(seq 50); do luoctl list-inhibitors | grep -q backup || break; sleep 0.1; done")
	}
	// An ordinary user may not begin or end anything.
	for _, call := range []string{"LiveUpdate a{sv} 0", "Cancel s x"} {
		if text := r.Sh(t, "setpriv --reuid=65534 --regid=65534 --clear-groups busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager "+call+" 2>&1 || true"); !strings.Contains(text, "Access denied") {
			t.Errorf("%s by nobody: %s", call, text)
		}
	}
	// luod is killed while services are asked: it takes the update back and says so.
	r.Sh(t, "luoctl live-update --no-block")
	r.Sh(t, kill)
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || !strings.Contains(s.LastError, "restarted while the update was") {
		t.Fatalf("after the kill: %+v", s)
	}
	// All are ready but the one that may be left behind.
	told(t, r)
	r.Sh(t, "rm /run/keeper/*.mode; echo hang > /run/keeper/keeper@8.service.mode; rm /run/keeper/*.json; for i in $(seq 8); do systemctl restart keeper@$i.service; done")
	same(t, before, must(r.Reports(t.Context(), services))(t))
	r.Sh(t, "mkdir -p /var/lib/keeper; cat > /run/copy.sh <<'E'\nwhile sleep 0.1; do cp /run/keeper/told /var/lib/keeper/new && mv /var/lib/keeper/new /var/lib/keeper/told; done\nE\nsystemd-run -q sh /run/copy.sh")
	check(t, r.Jump(t.Context(), r.Parts.Newer, "luoctl systemctl-verb enable; PATH=/usr/local/sbin:$PATH systemctl live-update"))
	after := must(r.Reports(t.Context(), services))(t)
	if !after["keeper@8.service"].Fresh {
		t.Error("the service that was left behind has its memory")
	}
	delete(before, "keeper@8.service")
	same(t, before, maps.Clone(after))
	s := settled(t, r, 1)
	if len(s.LeftBehind) != 1 || s.LeftBehind[0].Unit != "keeper@8.service" || !strings.Contains(s.LeftBehind[0].Reason, "within 4s") {
		t.Errorf("left behind: %+v", s.LeftBehind)
	}
	order := strings.Split(strings.TrimSpace(r.Sh(t, "cat /var/lib/keeper/told")), "\n")
	at := func(line string) int { return slices.Index(order, line) }
	for _, pair := range [][2]string{{"keeper@1.service ready", "keeper@2.service prepare"}, {"keeper@2.service ready", "keeper@3.service prepare"}} {
		if at(pair[0]) < 0 || at(pair[1]) < at(pair[0]) {
			t.Errorf("%q does not come before %q: %q", pair[0], pair[1], order)
		}
	}
}
