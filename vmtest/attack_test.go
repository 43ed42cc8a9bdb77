package vmtest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
)

// manager calls luod as busctl does.
const manager = "busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager "

// attacks are what an unprivileged user tries, each with what must be the answer.
// Those of a service run in mallory.service, a unit of its own; the others in a
// session's scope, which speaks for no unit.
var attacks = []struct{ name, from, script, answer string }{
	{"see what others have", "service", manager + "ListFileDescriptors", "Access denied"},
	{"see one's own, which is nothing", "service", manager + "ListNames", "a(ss) 0"},
	{"take another's", "service", manager + "Retrieve as 1 page", `mallory.service has no file descriptor "page" preserved`},
	{"take another's by its unit's name", "service", manager + "Retrieve as 1 keeper@1.service:page", `mallory.service has no file descriptor "keeper@1.service:page" preserved`},
	{"take all", "service", manager + "Retrieve as 0", "a(sh) 0"},
	{"give up another's", "service", manager + "Release as 1 page", `mallory.service has no file descriptor "page" preserved`},
	{"hand over without a unit", "session", manager + "Preserve 'a(sh)a{sv}' 0 0", "not a process of a system service"},
	{"take without a unit", "session", manager + "Retrieve as 0", "not a process of a system service"},
	{"register without a unit", "session", manager + "Register 'a{sv}' 0", "not a process of a system service"},
	{"say Ready without a unit", "session", manager + "Ready", "not a process of a system service"},
	{"say Ready while nobody asks", "service", manager + "Ready", "no live update is being prepared"},
	{"veto while nobody asks", "service", manager + "Fail s no", "no live update is being prepared"},
	{"unregister what isn't registered", "service", manager + "Unregister", "not registered"},
	{"be ordered after itself", "service", manager + "Register 'a{sv}' 1 after as 1 mallory.service", "before or after itself"},
	{"be ordered with a path", "service", manager + "Register 'a{sv}' 1 after as 1 ../../etc", "no name of a service"},
	{"hold an update up for ever", "service", manager + "Register 'a{sv}' 1 timeout t 18446744073709551615", "too long"},
	{"hold an update up for an hour", "service", manager + "Register 'a{sv}' 1 timeout t 3000000000", "is not between"},
	{"use an option that is not there", "service", manager + "Register 'a{sv}' 1 root b true", "unknown option"},
	{"begin an update", "service", manager + "LiveUpdate 'a{sv}' 0", "Access denied"},
	{"begin one later", "session", manager + "LiveUpdate 'a{sv}' 1 when t 4000000000000000", "Access denied"},
	{"ignore inhibitors", "session", manager + "LiveUpdate 'a{sv}' 1 ignore-inhibitors b true", "Access denied"},
	{"load a kernel", "service", manager + "Load 'sa{sv}' /etc/shadow 0", "Access denied"},
	{"unload it", "service", manager + "Unload", "Access denied"},
	{"have luod read a file", "session", manager + "Check 'sa{sv}' /etc/shadow 0", "Access denied"},
	{"see command lines", "session", manager + "ListEntries", "Access denied"},
	{"cancel", "session", manager + "Cancel s x", "Access denied"},
	{"block updates", "service", manager + "Inhibit ssss live-update x y block", "Access denied"},
	{"discard another's", "service", manager + "Discard sas keeper@1.service 0", "Access denied"},
	{"read the report", "session", manager + "Report t 0", "Access denied"},
	{"update fast", "session", manager + "LiveUpdate 'a{sv}' 1 fast b true", "Access denied"},
	{"take another's session", "service", manager + "RetrieveSession s own", "has no session"},
	{"give up another's session", "service", manager + "ReleaseSession s own", "has no session"},
	{"have a session without a unit", "session", manager + "CreateSession s x", "not a process of a system service"},
	{"start the jump", "session", "systemctl --no-ask-password start luod-jump.service", "authentication required"},
	{"own the name", "session", "busctl call org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.luod.LiveUpdate1 0", "Access denied"},
	{"set a property", "session", "busctl set-property org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Phase s idle", "Access denied"},
	{"use the socket of luod-reissue", "service", `python3 -c "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/run/luod/luod.sock')"`, "Permission denied"},
	{"read the record", "session", "cat /run/luod/record.json", "Permission denied"},
	{"see the inhibitors' files", "session", "ls /run/luod/inhibit/", "Permission denied"},
	{"look at luod's descriptors", "session", "ls /proc/$(systemctl show -P MainPID luod.service)/fd/", "Permission denied"},
	{"start the unit", "session", "systemctl --no-ask-password start luod-live-update.service", "authentication required"},
	{"kill luod", "session", "kill -9 $(systemctl show -P MainPID luod.service)", "not permitted"},
}

func TestAttacks(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	// A limit that a few shells can reach.
	r.Sh(t, `mkdir -p /etc/luod/luod.conf.d; printf '[Quota]\nCallsPerSecond=5\nCallsBurst=30\n' > /etc/luod/luod.conf.d/50-calls.conf; systemctl restart luod.service`)
	r.Sh(t, "mkdir -p /etc/keeper; echo 'KEEPER_ARGS=\"--register --session --timeout=5s\"' > /etc/keeper/1; echo KEEPER_FILES="+everyKind+" >> /etc/keeper/1; systemctl enable -q --now keeper@1.service")
	before := must(r.Reports(t.Context(), 1))(t)
	luod := r.Sh(t, "systemctl show -P MainPID luod.service")
	for _, a := range attacks {
		from := "-p Type=exec --unit=mallory.service --wait --pipe --uid=65534 --gid=65534"
		if a.from == "session" {
			from = "--scope --slice=user-65534.slice --uid=65534 --gid=65534"
		}
		text := r.Sh(t, fmt.Sprintf("cat > /tmp/attack <<'E'\n%s 2>&1\nE\nsystemd-run -q -G %s sh /tmp/attack 2>&1 || true", a.script, from))
		if !strings.Contains(strings.ToLower(text), strings.ToLower(a.answer)) {
			t.Errorf("%s from a %s: %q does not have %q", a.name, a.from, text, a.answer)
		}
	}
	// A signal that luod didn't send moves nobody.
	unmoved := "sleep 0.5; if [ -e /run/keeper/told ]; then cat /run/keeper/told; exit 1; fi"
	r.Sh(t, "systemd-run -q -G --wait --uid=65534 busctl emit /org/luod/LiveUpdate1/unit/keeper_401_2eservice org.luod.LiveUpdate1.Unit PrepareForLiveUpdate tt 1 0; "+unmoved)
	r.Sh(t, `pid=$(systemctl show -P MainPID keeper@1.service)
to=$(busctl list --unique --no-legend | awk -v pid=$pid '$2 == pid { print $1; exit }'); [ -n "$to" ]
for signal in "PrepareForLiveUpdate tt 1 0" "Cancelled ts 1 no"; do
  systemd-run -q -G --wait --uid=65534 busctl emit --destination=$to /org/luod/LiveUpdate1/unit/keeper_401_2eservice org.luod.LiveUpdate1.Unit $signal
done
`+unmoved)
	// Who calls all the time is slowed down, and the others are served.
	r.Sh(t, `systemd-run -q --uid=65534 --unit=flood sh -c 'for i in 1 2 3 4; do while :; do busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager ListNames 2>&1; done & done; wait'
for i in $(seq 300); do if journalctl -b --no-pager -u flood | grep -q 'flood.service calls luod too often'; then break; fi; sleep 0.1; done
journalctl -b --no-pager -u flood | grep -q 'flood.service calls luod too often'
timeout 20 luoctl status >/dev/null
[ "$(timeout 20 systemd-run -q -G --unit=neighbour --wait --pipe --uid=65534 `+manager+`ListNames)" = "a(ss) 0" ]
systemctl is-active -q flood; systemctl stop flood`)
	// Nothing of all that has changed anything.
	if now := r.Sh(t, "systemctl show -P MainPID luod.service"); now != luod {
		t.Errorf("luod was process %s and is %s", luod, now)
	}
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || s.LastError != "" || s.LoadedKernel != "" {
		t.Errorf("%+v", s)
	}
	// And a signal of luod's own would have been seen.
	check(t, r.Load(t.Context(), r.Parts.Newer))
	r.Sh(t, `echo veto it is noon > /run/keeper/keeper@1.service.mode
if luoctl live-update > /tmp/vetoed 2>&1; then exit 1; fi
grep -q 'it is noon' /tmp/vetoed; grep -qx 'keeper@1.service prepare' /run/keeper/told
rm /run/keeper/keeper@1.service.mode`)
	check(t, r.Update(t.Context(), r.Parts.Newer))
	same(t, before, must(r.Reports(t.Context(), 1))(t))
	r.Sh(t, "luoctl discard keeper@1.service own 2>&1 | grep -q 'nothing of that name'") // it is for the next update
	if s := must(r.Status(t.Context()))(t); s.Phase != "idle" || s.Generation != 1 || len(s.Lost) != 0 || s.LastError != "" {
		t.Errorf("%+v", s)
	}
}
