package vmtest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// recreateState is what the service found in its fd store when it started.
func recreateState(t *testing.T, r *rig.Rig) string {
	t.Helper()
	return r.Sh(t, "for i in $(seq 100); do systemctl is-active -q recreate && break; sleep 0.1; done; systemctl is-active -q recreate || { journalctl -b --no-pager -u recreate -u luod | tail -30 >&2; exit 1; }; cat /run/recreate/state")
}

// connect has both sockets answer.
const connect = `python3 -c "import socket
for s, address in (socket.socket(), ('127.0.0.1', 7007)), (socket.socket(socket.AF_UNIX), '/run/recreate.sock'):
    s.connect(address)
    assert s.recv(99).startswith(b'hello from')"`

// A service that keeps a log file and listening sockets in its fd store, and one
// memfd twice, has them all after two updates, in their order, when its unit file asks
// for that; and without that nothing is begun.
func TestFilesAndSocketsAreMadeAnew(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	began := time.Now()
	r.Sh(t, "luoctl enable recreate; systemctl start recreate")
	check(t, r.Load(t.Context(), r.Parts.Newer))
	pid := r.Sh(t, "systemctl show -P MainPID recreate")
	for _, command := range []string{"luoctl live-update", "luoctl live-update --dry-run", "luoctl check"} {
		out := r.Sh(t, command+" 2>&1 && exit 1 || true")
		for _, want := range []string{`"listen" (socket:[`, `"log" (/var/log/recreate.log)`, "Recreate=files sockets"} {
			if !strings.Contains(out, want) {
				t.Fatalf("%s says %q, and not %q", command, out, want)
			}
		}
	}
	if now := r.Sh(t, "systemctl show -P MainPID recreate"); now != pid {
		t.Fatalf("the service was stopped: it is process %s, and was %s", now, pid)
	}
	r.Sh(t, "luoctl enable recreate --recreate=files,sockets; systemctl enable -q recreate; systemctl restart recreate")
	before := recreateState(t, r)
	if strings.Count(before, "\n") != 6 {
		t.Fatalf("the service says %q", before)
	}
	r.Sh(t, connect)
	updates := 0
	for i, kernel := range through(r.Parts.Newer, r.Parts.Older) {
		check(t, r.Update(t.Context(), kernel))
		if now := recreateState(t, r); now != before {
			t.Fatalf("after update %d:\n%s\nand before\n%s", i+1, now, before)
		}
		updates++
		settled(t, r, uint64(i+1))
		r.Sh(t, connect)
		out := r.Sh(t, `for i in $(seq 100); do [ "$(luoctl list --json | tr -d ' \n')" = '[]' ] && break; sleep 0.1; done; luoctl list; luoctl report`)
		if !strings.Contains(out, "No file descriptors are held") || strings.Count(out, "re-created  ") != 3 || !strings.Contains(out, "3 preserved, 3 re-created, 0 lost") {
			t.Errorf("after update %d: %s", i+1, out)
		}
	}
	// Each start goes on where the one before ended, which was after everybody was ready.
	want := "begin" + strings.Repeat(" end connection connection", updates+1)
	if log := strings.Join(strings.Fields(r.Sh(t, "cat /var/log/recreate.log")), " "); log != want {
		t.Errorf("the log is %q and not %q", log, want)
	}
	if everything() {
		giveUpTheFile(t, r, uint64(updates+1), r.Parts.Newer, r.Parts.Older)
	}
	t.Logf("%d updates in %s", updates, time.Since(began).Round(time.Millisecond))
}

// Where PID 1 carries the store, luod makes the rest anew, and neither does what the
// other does. A store that PID 1 would not bring back as it is is refused, and luod
// carries it when it is let.
func TestFilesAndSocketsAreMadeAnewBesideWhatPID1Carries(t *testing.T) {
	repeats(t)
	r := start(t, lab.Sid, false, 0)
	r.Sh(t, "luoctl enable recreate --recreate=files,sockets --fd-store-preserve; luoctl enable spare --recreate=files --fd-store-preserve; systemctl enable -q --now recreate spare; systemctl restart spare")
	sorted := func() []string {
		return slices.Sorted(strings.Lines(recreateState(t, r) + r.Sh(t, "for i in $(seq 100); do systemctl is-active -q spare && break; sleep 0.1; done; cat /run/spare/state")))
	}
	before := sorted()
	check(t, r.Load(t.Context(), r.Parts.Newer))
	refusedUpdate(t, r, "luoctl live-update", `"table" (the memfd of "table" once more`)
	r.Sh(t, "luoctl enable recreate --fd-store-preserve=false")
	for i, kernel := range []lab.Kernel{r.Parts.Newer, r.Parts.Older} {
		check(t, r.Update(t.Context(), kernel))
		if now := sorted(); !slices.Equal(now, before) {
			t.Fatalf("after update %d:\n%q\nand before\n%q", i+1, now, before)
		}
		settled(t, r, uint64(i+1))
		r.Sh(t, connect)
		if out := r.Sh(t, "luoctl report"); strings.Count(out, "re-created  ") != 4 || strings.Count(out, "preserved by PID 1") != 1 || !strings.Contains(out, "4 preserved, 4 re-created, 0 lost") {
			t.Errorf("after update %d: %s", i+1, out)
		}
	}
}

// loseLog takes a file away that spare had in its store, when all is packed.
const loseLog = `mkdir -p /etc/luod/hooks.d; printf '#!/bin/sh\n[ "$1" != commit ] || rm /var/lib/spare.log\n' > /etc/luod/hooks.d/50-lose; chmod +x /etc/luod/hooks.d/50-lose`

// giveUpTheFile updates while a file is taken away that was to be made anew: its
// service doesn't start without it, and nothing of it is lost; an admin gives up the
// file, and the service goes on with its memory.
func giveUpTheFile(t *testing.T, r *rig.Rig, generation uint64, kernels ...lab.Kernel) {
	t.Helper()
	r.Sh(t, "luoctl enable spare --recreate=files; systemctl enable -q --now spare; "+loseLog)
	before := r.Sh(t, "cat /run/spare/state")
	next := kernels[0]
	if r.Boot.Kernel == next.Release {
		next = kernels[1]
	}
	check(t, r.Update(t.Context(), next))
	r.Sh(t, "for i in $(seq 100); do systemctl is-failed -q spare && break; sleep 0.1; done; systemctl is-failed -q spare && rm /etc/luod/hooks.d/50-lose")
	held := r.Sh(t, "luoctl list spare; systemctl start spare 2>&1 && exit 1; journalctl -b --no-pager -o cat -u spare | tail -5; luoctl list spare")
	if strings.Count(held, "memory") < 2 || !strings.Contains(held, "'luoctl discard spare.service log'") {
		t.Errorf("without its file: %s", held)
	}
	after := r.Sh(t, "luoctl discard spare log; systemctl start spare; cat /run/spare/state")
	if !strings.HasSuffix(after, before) {
		t.Errorf("it has %q, want %q", after, before)
	}
	settled(t, r, generation)
}
