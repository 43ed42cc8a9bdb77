package systemdtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/liveupdate/luod/luo/luofake"
	"github.com/liveupdate/luod/vmtest/lab"
)

const (
	// luodMay is by how much an attack may raise luod's memory, in KiB, and busMay what luod-bus
	// may have: MemoryMax= of its unit, which is not everywhere enforced in a namespace.
	luodMay, busMay = 8 << 10, 128 << 10
	// soonEnough is how long another client may wait meanwhile, in milliseconds, beyond what the bus itself takes to
	// answer, of which whoever floods it has his share.
	soonEnough = 1000
	// manyUsers is one attack more, by many users at once.
	manyUsers = "a flood by many users"
)

// TestNobodyOnTheBusCostsLuodAnything has a stranger do his worst, one thing after the other, while an update is being
// prepared and an honest client calls; and then the update goes on.
func TestNobodyOnTheBusCostsLuodAnything(t *testing.T) {
	t.Run("dbus-daemon", func(t *testing.T) { attacked(t, Options{Suite: lab.Trixie}) })
	t.Run("dbus-broker", func(t *testing.T) {
		attacked(t, Options{Suite: lab.Sid, Packages: []string{"dbus-broker"}})
	})
}

func attacked(t *testing.T, o Options) {
	stranger := Program(t, "github.com/liveupdate/luod/vmtest/guest/stranger")
	o.Files, o.Units = []lab.File{stranger, unitFile("dbus-broker.service.d/99-lab.conf", noSandbox)}, map[string]string{
		"memory.service": memoryService,
		// It registers, and says Ready when it is told to.
		"slow.service": `[Service]
ExecStart=/bin/sh -c 'busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Register "a{sv}" 1 timeout t 290000000 && touch /run/registered; while :; do [ ! -e /run/go ] || busctl call org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Ready; sleep 0.2; done'
`}
	l := BootLuod(t, o, luofake.New())
	l.Do("systemctl start memory slow; while [ ! -e /run/registered ]; do sleep 0.05; done; luoctl load /boot/vmlinuz; systemd-run -q --unit=updater luoctl live-update; for i in $(seq 100); do luoctl status --json | grep -q '\"phase\": \"preparing\"' && break; sleep 0.05; done")
	luod, bus := l.process("luod"), l.process("luod-bus")
	program := stranger.Path
	var worst struct {
		luod, bus, answer int
		by                [3]string
	}
	for _, attack := range append(strings.Split(strings.TrimSpace(l.Do(program+" --list")), "\n"), manyUsers) {
		harm := fmt.Sprintf("systemd-run -q --wait --pipe --unit=mallory --uid=65534 %s --for=700ms '%s'", program, attack)
		if attack == manyUsers {
			harm = "for uid in $(cut -d: -f3 /etc/passwd | grep -vx '0\\|33'); do setpriv --reuid=$uid --clear-groups " + program + " --for=700ms 'a flood of calls' & done; wait"
		}
		var rise, has, answer, floor int
		var said string
		// Two more tries, since others use this machine as well.
		for try := 1; ; try++ {
			before := l.memory(luod, "VmRSS")
			l.Do(fmt.Sprintf("echo 5 >/proc/%d/clear_refs; echo 5 >/proc/%d/clear_refs", luod, bus))
			got := l.Do(fmt.Sprintf("{ %s; } >/run/said 2>&1 & systemd-run -q --wait --pipe --unit=honest --uid=33 %s --client --for=900ms 2>&1; wait $! || { cat /run/said >&2; exit 1; }", harm, program))
			if n, err := fmt.Sscan(got, &answer, &floor); n != 2 {
				t.Fatalf("%s: the honest client says %q: %v", attack, got, err)
			}
			rise, has = l.memory(luod, "VmHWM")-before, l.memory(bus, "VmHWM")
			said = strings.TrimSpace(l.Do("cat /run/said"))
			if !strings.Contains(said, " messages, ") || strings.Contains(said, "stranger: ") {
				t.Errorf("%s: the stranger says %q", attack, said)
			}
			if rise < luodMay && has < busMay && answer < soonEnough+floor {
				break
			}
			text := fmt.Sprintf("%s: luod's memory rose by %d KiB, luod-bus had %d KiB, and another client waited for %d ms", attack, rise, has, answer)
			if try == 3 {
				t.Error(text)
				break
			}
			t.Log(text)
		}
		t.Logf("%-50s luod +%5d KiB, luod-bus %6d KiB, an answer %4d ms, of the bus %4d ms; %s", attack, rise, has, answer, floor, strings.ReplaceAll(said, "\n", "; "))
		for i, one := range []struct{ is, most *int }{{&rise, &worst.luod}, {&has, &worst.bus}, {&answer, &worst.answer}} {
			if *one.is > *one.most {
				*one.most, worst.by[i] = *one.is, attack
			}
		}
		if now := l.process("luod"); now != luod {
			t.Fatalf("%s: luod was process %d and is %d", attack, luod, now)
		}
		if now := l.process("luod-bus"); now != bus {
			t.Fatalf("%s: luod-bus was process %d and is %d", attack, bus, now)
		}
		l.Do("luoctl status --json | grep -q '\"phase\": \"preparing\"'")
	}
	t.Logf("at worst luod's memory rose by %d KiB (%s), luod-bus had %d KiB (%s), and another client waited for %d ms (%s)", worst.luod, worst.by[0], worst.bus, worst.by[1], worst.answer, worst.by[2])
	if open := l.Do(fmt.Sprintf("ls /proc/%d/fd | wc -l", bus)); len(open) > 4 { // with its newline, less than 1,000
		t.Errorf("luod-bus has %s descriptors", open)
	}

	// Killed in the middle, it costs those who call then their answer, and nobody anything else.
	for _, attack := range []string{"a flood of each method", "an oversized message", "a flood without reading", "stray descriptors", "half a message"} {
		l.Do(fmt.Sprintf("systemd-run -q --unit=mallory --uid=65534 %s --for=2s '%s'; sleep 0.3; kill -9 $(systemctl show -P MainPID luod-bus); for i in $(seq 100); do busctl get-property org.luod.LiveUpdate1 /org/luod/LiveUpdate1 org.luod.LiveUpdate1.Manager Phase 2>/dev/null | grep -q preparing && break; sleep 0.05; done; luoctl status --json | grep -q '\"phase\": \"preparing\"'; systemctl stop mallory 2>/dev/null || true", program, attack))
		if now := l.process("luod"); now != luod {
			t.Fatalf("luod-bus killed in %s: luod was process %d and is %d", attack, luod, now)
		}
		if now := l.process("luod-bus"); now == bus {
			t.Fatalf("luod-bus killed in %s: it lives", attack)
		} else {
			bus = now
		}
	}
	l.Do("systemctl is-active -q updater") // who asked for the update still waits for it
	l = l.Jump("touch /run/go; sleep 60")
	l.remembers(".")
}

// process is the main process of a service.
func (l *Luod) process(unit string) int {
	l.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(l.Do("systemctl show -P MainPID " + unit + ".service")))
	if err != nil || pid == 0 {
		l.t.Fatalf("%s has process %d, %v", unit, pid, err)
	}
	return pid
}

// memory is a value of proc_pid_status(5), in KiB.
func (l *Luod) memory(pid int, key string) int {
	l.t.Helper()
	kib, err := strconv.Atoi(strings.TrimSpace(l.Do(fmt.Sprintf("sed -n 's/^%s:[[:space:]]*\\([0-9]*\\) kB/\\1/p' /proc/%d/status", key, pid))))
	if err != nil {
		l.t.Fatal(err)
	}
	return kib
}
