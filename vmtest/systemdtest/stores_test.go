package systemdtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

// storeService is a service that knows only systemd's fd store.
func storeService(program string) string {
	return fmt.Sprintf(`[Service]
Type=notify
NotifyAccess=all
FileDescriptorStoreMax=8
RuntimeDirectory=%%p
ExecStart=/usr/bin/python3 /usr/lib/luod-lab/%s /run/%%p/state
`, program)
}

// enabled is what luoctl enable writes, and more of [Service].
func enabled(more string) string {
	return `[Unit]
Wants=luod.service
After=luod.service
[X-LiveUpdate]
Preserve=fdstore
[Service]
ExecStartPre=+/usr/lib/luod/luod-reissue
NotifyAccess=exec
FileDescriptorStoreMax=512
` + more
}

// stores are two services with fd stores: of store a stop drops it, and late fills its own
// while it is stopped, for which PID 1 keeps it.
func stores(o Options) Options {
	o.Files = append(o.Files,
		lab.File{Path: "/usr/lib/luod-lab/store.py", Mode: 0o755, Source: "../rig/services/store.py"},
		lab.File{Path: "/usr/lib/luod-lab/late.py", Mode: 0o755, Source: "../rig/services/late.py"})
	units := map[string]string{"store.service": storeService("store.py"), "late.service": storeService("late.py")}
	maps.Copy(units, o.Units)
	o.Units = units
	return o
}

// state is what services have found in their memory, once they run.
func (l *Luod) state(units ...string) string {
	l.t.Helper()
	text := ""
	for _, unit := range units {
		text += l.Do(fmt.Sprintf(`for i in $(seq 200); do [ "$(systemctl is-active %[1]s)" = active ] && break; sleep 0.05; done; systemctl is-active -q %[1]s; cat /run/%[1]s/state`, unit))
	}
	return text
}

// sorted puts the words of text in order.
func sorted(text string) string {
	words := strings.Fields(text)
	slices.Sort(words)
	return strings.Join(words, " ")
}

// idle waits until no update is under way.
func (l *Luod) idle() {
	l.t.Helper()
	l.Do(`for i in $(seq 400); do luoctl status --json | grep -q '"phase": "idle"' && exit 0; sleep 0.05; done; luoctl status; exit 1`)
}

// refused runs a command that must fail and say why.
func (l *Luod) refused(command, why string) {
	l.t.Helper()
	r, err := l.Run(command)
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, why) {
		l.t.Fatalf("%s: exit code %d: %s%s; want %q", command, r.Code, r.Stdout, r.Stderr, why)
	}
}

// TestEnablingAgainCostsNoMemory has an admin say the same several times.
func TestEnablingAgainCostsNoMemory(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		l := BootLuod(t, stores(Options{Suite: suite}), luofake.New())
		l.Do("luoctl enable store; systemctl start store")
		want := l.state("store")
		for _, command := range []string{"luoctl enable store", "luoctl enable store --timeout=7s", "luoctl enable store --early", "luoctl enable store"} {
			l.Do(command + "; systemctl restart store")
			// Each daemon-reload turns the order around.
			if now := l.state("store"); sorted(now) != sorted(want) {
				t.Fatalf("after %q it has %q, and had %q", command, now, want)
			}
		}
		l.Do("grep -qx TimeoutSec=7 /etc/systemd/system/store.service.d/50-luod.conf || grep -qx TimeoutSec=7s /etc/systemd/system/store.service.d/50-luod.conf; test -L /etc/systemd/system/luod-restore.target.wants/store.service; systemctl stop store; systemctl start store")
	})
}

// TestAFastJumpThatIsRefusedCostsNoStore has PID 1 stop everybody and drop what they had.
func TestAFastJumpThatIsRefusedCostsNoStore(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		l := BootLuod(t, stores(Options{Suite: suite, Wants: []string{"store.service", "late.service"}, Units: map[string]string{
			"store.service.d/50-luod.conf":    enabled(""),
			"late.service.d/50-luod.conf":     enabled("FileDescriptorStorePreserve=yes\n"),
			"luod-jump.service.d/90-not.conf": "[Service]\nExecStart=\nExecStopPost=\nExecStart=/bin/false\n",
		}}), luofake.New())
		want := l.state("store")
		l.Do("systemctl restart late")
		late := l.state("late")
		if late != "1 1" {
			t.Fatalf("late has %q", late)
		}
		l.Do("luoctl load /boot/vmlinuz; luoctl live-update --fast || true")
		l.idle()
		if now := l.state("store"); now != want {
			t.Errorf("store has %q, and had %q", now, want)
		}
		if now := l.state("late"); now != "1 2" {
			t.Errorf("late has %q: it was stopped a second time", now)
		}
		l.Do(`for i in $(seq 200); do luoctl list | grep -q '^No file' && break; sleep 0.05; done; luoctl list | grep -q '^No file'`)
		l.Do("luoctl status --json | grep -q 'jump'")
		// By its files the next start would have no room: nothing is stopped.
		l.Do("luoctl load /boot/vmlinuz; sed -i s/Max=512/Max=1/ /etc/systemd/system/store.service.d/50-luod.conf; systemctl show -P MainPID store > /run/pid")
		l.refused("luoctl live-update", "has room for 1")
		l.refused("luoctl live-update --dry-run", "has room for 1")
		l.Do("systemctl show -P MainPID store | cmp - /run/pid")
	})
}

// TestALuodThatDiesInTheLastSecondCostsNothing has luod die when PID 1 can no longer start it
// again, and the next boot have too little room at first.
func TestALuodThatDiesInTheLastSecondCostsNothing(t *testing.T) {
	each(t, func(t *testing.T, suite lab.Suite) {
		kill := LastSecond("read -r pid </run/luod.pid; kill -9 $pid; echo \"<30>luod was killed: $pid\" >/dev/kmsg\n")
		l := BootLuod(t, stores(Options{Suite: suite, Files: []lab.File{kill}, Wants: []string{"store.service"}, Units: map[string]string{
			"store.service.d/50-luod.conf": enabled(""),
		}}), luofake.New())
		want := l.state("store")
		l.Do("luoctl load /boot/vmlinuz; systemctl show -P MainPID luod > /run/luod.pid")
		l.options.Units = maps.Clone(l.options.Units)
		l.options.Units["store.service.d/60-less.conf"] = "[Service]\nFileDescriptorStoreMax=1\n"
		before := l
		l = l.Jump("luoctl live-update")
		if got := before.log.tail(50); !strings.Contains(got, "luod was killed: ") {
			t.Fatalf("luod was not killed: the test proves nothing:\n%s", got)
		}
		// PID 1 would close one of the two and say nothing.
		l.Do(`for i in $(seq 200); do systemctl is-failed -q store && break; sleep 0.05; done; systemctl is-failed -q store`)
		if text := l.Do("systemctl status store || true; luoctl list"); strings.Count(text, "store.service  table") != 2 {
			t.Errorf("it says:\n%s", text)
		}
		l.Do("rm /etc/systemd/system/store.service.d/60-less.conf; systemctl daemon-reload; systemctl start store")
		if now := l.state("store"); sorted(now) != sorted(want) {
			t.Errorf("it has %q, and had %q", now, want)
		}
	})
}

// TestStoresOfUnitsThatDoNotRunComeAlong has a unit stopped, whose store PID 1 keeps as
// something refers to it.
func TestStoresOfUnitsThatDoNotRunComeAlong(t *testing.T) {
	l := BootLuod(t, stores(Options{Suite: lab.Trixie, Wants: []string{"late.service"}, Units: map[string]string{
		"late.service.d/50-luod.conf": enabled("FileDescriptorStorePreserve=yes\n"),
	}}), luofake.New())
	l.state("late")
	l.Do("systemctl stop late; systemctl show -P NFileDescriptorStore late | grep -qx 1; luoctl load /boot/vmlinuz")
	l = l.Jump("luoctl live-update")
	if now := l.state("late"); now != "1 1" {
		t.Errorf("it has %q", now)
	}
}
