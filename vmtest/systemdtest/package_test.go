package systemdtest

import (
	"strings"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// memoryService reads what is in its memory, and adds a dot. Between a stop and a start only luod has that.
const memoryService = `[Unit]
Wants=luod.service
After=luod.service
[Service]
NotifyAccess=exec
FileDescriptorStoreMax=8
ExecStartPre=+/usr/lib/luod/luod-reissue --memfd=table:4096
ExecStart=/bin/sh -ec 'tr -d "\\000" </proc/self/fd/3 >/run/read.new; printf "%%s." "$(cat /run/read.new)" | dd of=/proc/self/fd/3 conv=notrunc status=none; mv /run/read.new /run/read; exec sleep infinity'
`

// packaged is a system with both packages, of which it installs one, and with services.
func packaged(t *testing.T, suite lab.Suite, deb string) *Luod {
	l := BootPackaged(t, stores(Options{Suite: suite, Units: map[string]string{
		"memory.service":  memoryService,
		"enabled.service": "[Service]\nExecStart=/bin/sleep infinity\n",
	}, Files: []lab.File{
		// The bus waits for a luod that can't start for 25 s otherwise.
		{Path: "/etc/dbus-1/system.d/impatient.conf", Mode: 0o644, Data: []byte("<busconfig><limit name=\"service_start_timeout\">3000</limit></busconfig>\n")},
	}}), luofake.New())
	l.install(deb)
	return l
}

func (l *Luod) install(deb string) {
	l.t.Helper()
	l.Do("dpkg --force-unsafe-io -i " + deb + " >/run/dpkg.log 2>&1 || { cat /run/dpkg.log; exit 1; }; systemctl is-active -q luod")
}

// remembers restarts the service, which must find want.
func (l *Luod) remembers(want string) {
	l.t.Helper()
	if got := l.Do("rm -f /run/read; systemctl stop memory; systemctl start memory; for i in $(seq 200); do [ -e /run/read ] && break; sleep 0.05; done; cat /run/read"); got != want {
		l.t.Fatalf("the service has read %q, want %q:\n%s", got, want, l.Do("luoctl status; luoctl list"))
	}
}

// says runs a command that must end with code and say why.
func (l *Luod) says(code int, command string, why ...string) string {
	l.t.Helper()
	r, err := l.Run(command)
	if err != nil {
		l.t.Fatal(err)
	}
	said := r.Stdout + r.Stderr
	for _, w := range why {
		if r.Code != code || !strings.Contains(said, w) {
			l.t.Fatalf("%s: exit code %d: %s; want %d and %q", command, r.Code, said, code, w)
		}
	}
	return said
}

// eachPackaged is each, and also on systemd 252, whose stop of luod drops what it holds.
func eachPackaged(t *testing.T, test func(t *testing.T, suite lab.Suite)) {
	t.Run(string(lab.Bookworm), func(t *testing.T) {
		need(t, lab.Bookworm)
		t.Parallel()
		test(t, lab.Bookworm)
	})
	each(t, test)
}

// TestAnUpgradeAndADowngradeLoseNothing has another luod take over what is held, with the scripts of both.
func TestAnUpgradeAndADowngradeLoseNothing(t *testing.T) {
	eachPackaged(t, func(t *testing.T, suite lab.Suite) {
		l := packaged(t, suite, oldDeb)
		l.remembers("")
		dots := ""
		for _, deb := range []string{newDeb, oldDeb, newDeb, newDeb} {
			before := l.Do("luoctl list")
			l.install(deb)
			if after := l.Do("luoctl list"); after != before || !strings.Contains(after, "table") {
				t.Fatalf("after %s is installed it has\n%s\nand before\n%s", deb, after, before)
			}
			dots += "."
			l.remembers(dots)
		}
	})
}

// TestAnUpdateIntoAnotherVersion has one luod pack what another restores: what is in the manifest, in bundles and in fd
// stores is the same for both, whichever comes first.
func TestAnUpdateIntoAnotherVersion(t *testing.T) {
	for name, debs := range map[string][2]string{"into a newer one": {oldDeb, newDeb}, "into an older one": {newDeb, oldDeb}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := packaged(t, lab.Trixie, debs[0])
			l.remembers("")
			l.Do("luoctl enable store --preserve=fdstore; systemctl start store; luoctl load /boot/vmlinuz")
			has := l.state("store")
			l.Do("luoctl live-update --dry-run")
			l = l.Jump("luoctl live-update")
			l.install(debs[1])
			if got := l.Do("luoctl status --json"); !strings.Contains(got, `"generation": 1`) || !strings.Contains(got, `"degraded": ""`) {
				t.Fatal(got)
			}
			l.remembers(".")
			l.Do("luoctl enable store --preserve=fdstore; systemctl start store")
			if got := l.state("store"); got != has {
				t.Errorf("the fd store has come back as\n%s\nand was\n%s", got, has)
			}
			l.idle()
		})
	}
}

// TestARemovalTakesNoMemoryWithoutAWord has the package removed while memory is held, and then when it isn't.
func TestARemovalTakesNoMemoryWithoutAWord(t *testing.T) {
	eachPackaged(t, func(t *testing.T, suite lab.Suite) {
		l := packaged(t, suite, newDeb)
		l.remembers("")
		l.Do("luoctl enable enabled --preserve=dbus; systemctl start enabled; luoctl load /boot/vmlinuz; luoctl systemctl-verb enable")
		for _, c := range []struct {
			call string
			code int
		}{
			{"prerm upgrade 9", 0}, {"prerm failed-upgrade 0.0.1 0.1.0", 0}, {"prerm deconfigure in-favour other 2", 0},
			{"prerm remove", 1}, {"prerm remove in-favour other 2", 1},
			{"postinst abort-remove", 0}, {"postinst abort-upgrade 9", 0}, {"postinst abort-deconfigure in-favour other 2", 0},
			{"postrm upgrade 9", 0}, {"postrm failed-upgrade 0.0.1 0.1.0", 0}, {"postrm abort-install", 0}, {"postrm abort-upgrade 0.0.1 0.1.0", 0}, {"postrm disappear other 2", 0},
		} {
			l.says(c.code, "/var/lib/dpkg/info/luod."+c.call, "")
			l.Do("systemctl is-active -q luod; luoctl list | grep -q table; test -e /etc/systemd/system/enabled.service.d/50-luod.conf")
		}
		for _, command := range []string{"dpkg -r luod", "dpkg -P luod"} {
			l.says(1, command, "memory.service", "luoctl discard --all", "not removed")
		}
		l.Do("systemctl is-active -q luod; test -e /etc/systemd/system/enabled.service.d/50-luod.conf; luoctl status --json | grep -q '\"loadedRelease\": \"fake\"'; [ \"$(dpkg-query -W -f '${db:Status-Status}' luod)\" = installed ]")
		l.remembers(".")

		l.says(1, "luoctl discard --all </dev/null", "--force")
		l.says(3, "luoctl discard --all --dry-run", "memory.service")
		l.remembers("..")
		l.Do("systemctl stop memory; luoctl discard --all --force")
		l.says(0, "luoctl discard --all --dry-run", "luod holds nothing")
		// Somebody calls luod all the time.
		l.Do("systemd-run -q --unit=caller sh -c 'while :; do busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager ListInhibitors >/dev/null 2>&1; done'")
		l.says(0, "dpkg -r luod", "enabled.service no longer takes part", "/etc/systemd/system/memory.service", "Unloaded fake")
		l.Do("systemctl stop caller")
		l.gone(`systemctl is-active -q luod || pidof luod`, "luod runs")
		l.gone(`systemctl show -P NFileDescriptorStore luod.service | grep -v '^0$'`, "PID 1 keeps its fd store")
		l.gone(`grep 1 /sys/kernel/kexec_loaded`, "its kernel is loaded")
		l.gone(`ls /etc/systemd/system/enabled.service.d /run/systemd/system/luod.service /run/systemd/system/luod-bus.service /usr/local/sbin/systemctl`, "it is there")
		l.Do("systemctl restart enabled")
		l.says(1, "systemctl start memory", "") // as it said

		l.Do("dpkg -P luod")
		l.gone(`find /etc /run /var /usr/local -name '*luod*' ! -path '/etc/systemd/system/luod-systemdtest*' ! -path '/etc/systemd/system/luod-bus.service.d*' ! -path '/run/luod-systemdtest*' ! -path '/run/luofake*' ! -path '/run/systemd/units/*' ! -path '/var/log/dpkg*' | grep .`, "a purge leaves it")
		l.install(newDeb)
		l.remembers("")
	})
}

// gone runs a command that must find nothing.
func (l *Luod) gone(command, what string) {
	l.t.Helper()
	r, err := l.Run(command)
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Stdout != "" || r.Code == 0 {
		l.t.Errorf("%s: %s", what, r.Stdout)
	}
}

// TestARemovalWithoutALuodToAsk has PID 1 keep the memory of a luod that does not start. Before systemd 254 there is
// nothing then.
func TestARemovalWithoutALuodToAsk(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		for name, c := range map[string]struct{ break_, out string }{
			"stopped":   {"systemctl stop luod", "luoctl discard --all --force"}, // the bus starts it
			"can't run": {"mkdir -p /etc/systemd/system/luod.service.d; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\nRestart=no\\n' >/etc/systemd/system/luod.service.d/x.conf; systemctl daemon-reload; systemctl stop luod", ""},
			"failed":    {"mkdir -p /etc/systemd/system/luod.service.d; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\nRestart=no\\n' >/etc/systemd/system/luod.service.d/x.conf; systemctl daemon-reload; systemctl restart luod || true; systemctl is-failed luod", ""},
		} {
			t.Run(name, func(t *testing.T) {
				l := packaged(t, suite, newDeb)
				l.remembers("")
				l.Do("systemctl stop memory; " + c.break_)
				said := l.says(1, "dpkg -r luod", "not removed")
				if c.out == "" {
					_, c.out, _ = strings.Cut(said, "gives it up unseen: ")
					c.out, _, _ = strings.Cut(c.out, " (before")
				}
				l.Do(c.out)
				l.Do("dpkg -r luod")
				l.gone(`systemctl show -P NFileDescriptorStore luod.service | grep -v '^0$'`, "PID 1 keeps its fd store")
			})
		}
		t.Run("a unit's own store", func(t *testing.T) {
			l := packaged(t, suite, newDeb)
			// Only the drop-in makes room for it, and luod no longer holds it.
			l.Do(`luoctl enable enabled --preserve=fdstore --memfd=table:4096; systemctl start enabled; luoctl discard --all --force
[ "$(systemctl show -P NFileDescriptorStore enabled)" = 1 ]`)
			l.says(1, "luoctl disable enabled", "--force")
			l.says(1, "dpkg -r luod", "luoctl disable --force enabled.service'")
			l.Do(`[ "$(systemctl show -P NFileDescriptorStore enabled)" = 1 ]; luoctl disable --force enabled.service; dpkg -r luod`)
		})
		t.Run("masked, and nothing held", func(t *testing.T) {
			l := packaged(t, suite, newDeb)
			l.Do("systemctl stop luod; systemctl mask luod")
			l.says(0, "dpkg -P luod", "nothing is held")
		})
		t.Run("no systemd", func(t *testing.T) {
			l := packaged(t, suite, newDeb)
			l.remembers("")
			// A root that is another's, whose /run it sees.
			l.Do(`luoctl enable enabled --preserve=dbus
mkdir -p /root/other; cp -a /bin /sbin /lib* /root/other/; mkdir -p /root/other/var/lib /root/other/tmp /root/other/usr
for d in usr/bin usr/sbin usr/lib usr/lib64 usr/share; do [ ! -e /$d ] || cp -a /$d /root/other/usr/; done
cp -a /var/lib/dpkg /var/lib/systemd /root/other/var/lib/; cp -a /etc /root/other/
mkdir /root/other/run /root/other/proc /root/other/dev; mount --bind /run /root/other/run; mount --bind /proc /root/other/proc; mount --bind /dev /root/other/dev
chroot /root/other dpkg -P luod
umount /root/other/run /root/other/proc /root/other/dev
test ! -e /root/other/etc/systemd/system/enabled.service.d
test ! -e /root/other/usr/lib/luod/luod`)
			l.Do("systemctl is-active -q luod; test -e /run/luod/record.json; test -e /etc/systemd/system/enabled.service.d/50-luod.conf")
			l.remembers(".")
		})
	})
}
