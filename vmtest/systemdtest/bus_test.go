package systemdtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// TestLuodAndItsBus has luod as its package installs it, and looks at who may do what.
func TestLuodAndItsBus(t *testing.T) {
	eachPackaged(t, func(t *testing.T, suite lab.Suite) {
		l := packaged(t, suite, newDeb)
		l.remembers("")
		// Whoever is admitted only where polkit says so.
		l.Do(`mkdir -p /etc/polkit-1/rules.d /etc/polkit-1/localauthority/50-local.d
printf 'polkit.addRule(function(action, subject) { if (action.id == "org.luod.LiveUpdate1.cancel" && subject.user == "daemon") return polkit.Result.YES; });\n' >/etc/polkit-1/rules.d/50-lab.rules
chmod 755 /etc/polkit-1/rules.d; mkdir -p /etc/systemd/system/polkit.service.d
cat >/etc/systemd/system/polkit.service.d/99-lab.conf <<'E'
` + noSandbox + `E
systemctl daemon-reload; systemctl restart polkit`)

		// luod's own namespace of mounts would keep them from being unmounted in a shutdown.
		l.Do("[ \"$(readlink /proc/1/ns/mnt)\" = \"$(readlink /proc/$(systemctl show -P MainPID luod)/ns/mnt)\" ]")
		for unit, most := range map[string]string{"luod": "35", "luod-bus": "15"} {
			// Without the drop-in that a namespace takes.
			l.Do("mkdir -p /run/alone; cp $(systemctl show -P FragmentPath " + unit + ".service) /run/alone/bare-" + unit + ".service; systemd-analyze security --offline=yes --threshold=" + most + " /run/alone/bare-" + unit + ".service >/run/exposure 2>&1 || { cat /run/exposure >&2; exit 1; }")
		}

		l.Do("[ \"$(stat -c '%U:%G %a' /run/luod/bus.sock)\" = 'root:luod-bus 660' ]; pid=$(systemctl show -P MainPID luod-bus); [ \"$(stat -c %U /proc/$pid)\" = luod-bus ]; grep -q '^CapEff:[[:space:]]*0*$' /proc/$pid/status")
		const connect = `python3 -c "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/luod/bus.sock'); s.settimeout(5); print(s.recv(1))" 2>&1`
		l.says(1, "systemd-run -q --wait --pipe --uid=65534 "+connect, "Permission denied")
		// Who is in its group, or is its user, and not in its unit gets nothing.
		for _, who := range []string{"--uid=luod-bus", "--uid=65534 -p SupplementaryGroups=luod-bus"} {
			l.says(0, "systemd-run -q --wait --pipe "+who+" "+connect, "b''")
		}
		l.says(1, "busctl call org.freedesktop.DBus / org.freedesktop.DBus RequestName su org.luod.LiveUpdate1 4", "denied") // root neither

		const call = "busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager "
		l.says(1, "systemd-run -q --wait --pipe --uid=65534 "+call+"Cancel s x", "denied")
		l.says(1, "systemd-run -q --wait --pipe --uid=1 "+call+"ListFileDescriptors", "denied")
		l.says(1, "systemd-run -q --wait --pipe --uid=1 "+call+"Cancel s x", "none is under way")
		l.says(1, call+"Cancel s x", "none is under way")

		// Without a bus root reaches luod all the same, and nobody else does.
		listed := l.Do("luoctl list")
		l.Do("systemctl stop dbus.socket dbus.service 2>/dev/null; systemctl stop dbus.socket dbus.service; ! busctl list >/dev/null 2>&1")
		if got := l.says(0, "luoctl list", "by its own socket"); !strings.HasSuffix(got, listed) && !strings.Contains(got, "table") {
			t.Errorf("without a bus: %s, and with one: %s", got, listed)
		}
		l.says(0, "luoctl status", "idle")
		l.says(1, "setpriv --reuid=65534 --clear-groups luoctl list", "connect to the system bus")
		l.Do("luoctl load /boot/vmlinuz; luoctl live-update --dry-run; luoctl unload")
		l.Do("systemctl start dbus.socket dbus.service; for i in $(seq 100); do luoctl status 2>&1 | grep -q 'own socket' || break; sleep 0.1; done")
		l.says(0, "luoctl list", listed)
		l.Do("! luoctl list 2>&1 | grep 'own socket'")
		l.remembers(".")
	})
}

// TestAnUpgradeOfWhatIsBeingPreparedLosesNothing has another version installed while services prepare: the update is taken
// back, as by any restart of luod, and another one works.
func TestAnUpgradeOfWhatIsBeingPreparedLosesNothing(t *testing.T) {
	for name, debs := range map[string][2]string{"to a newer one": {oldDeb, newDeb}, "to an older one": {newDeb, oldDeb}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := BootPackaged(t, Options{Suite: lab.Trixie, Units: map[string]string{
				"memory.service": memoryService,
				"slow.service":   "[X-LiveUpdate]\nPreserve=dbus\nTimeoutSec=200\n[Service]\nExecStart=/bin/sleep infinity\n",
			}}, luofake.New())
			l.install(debs[0])
			l.remembers("")
			l.Do("luoctl load /boot/vmlinuz; systemctl start slow; luoctl live-update --no-block; for i in $(seq 100); do luoctl status --json | grep -q '\"phase\": \"preparing\"' && break; sleep 0.05; done; luoctl status --json | grep '\"phase\": \"preparing\"'")
			l.install(debs[1])
			l.Do("for i in $(seq 100); do luoctl status --json | grep -q '\"phase\": \"idle\"' && break; sleep 0.05; done; luoctl status --json | grep '\"phase\": \"idle\"'")
			l.remembers(".")
			l.Do("systemctl stop slow; luoctl load /boot/vmlinuz")
			l = l.Jump("luoctl live-update")
			l.install(debs[1])
			l.remembers("..")
		})
	}
}
