package vmtest

import (
	"strconv"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

const storeUnits = "store-c store-python store-sandbox store-shell"

// states reads what the services found in their memory.
func states(t *testing.T, r *rig.Rig) string {
	t.Helper()
	return r.Sh(t, "for u in "+storeUnits+"; do for i in $(seq 100); do systemctl is-active -q $u && break; sleep 0.1; done; systemctl is-active -q $u || exit 1; done; cat /run/store-*/state")
}

// Services in C, Python and shell, and one locked up in a sandbox, that only know
// systemd's fd store, as they are: an admin enables them, and two updates cost them nothing.
// There all memfds are made with MFD_NOEXEC_SEAL, as an admin can demand.
func TestUnmodifiedServices(t *testing.T) {
	unmodified(t, start(t, lab.Trixie, false, 0), "echo 1 > /proc/sys/vm/memfd_noexec; luoctl enable "+storeUnits)
}

func TestUnmodifiedServicesWherePID1CarriesStores(t *testing.T) {
	repeats(t)
	// One of them PID 1 carries by itself; of several memfds it turns the order around.
	unmodified(t, start(t, lab.Sid, false, 0), "luoctl enable "+storeUnits+"; luoctl enable --fd-store-preserve store-c")
}

// warm is a directory in memory, which comes along with a unit.
const warm = `mkdir -m 750 /run/warm; echo warm > /run/warm/file; ln -s file /run/warm/link; chmod 640 /run/warm/file; chown -R daemon:daemon /run/warm
luoctl enable store-python --directory=/run/warm
`

// warmState is what it looks like.
const warmState = `stat -c '%U %a %N' /run/warm /run/warm/file /run/warm/link; cat /run/warm/link`

func unmodified(t *testing.T, r *rig.Rig, enabling string) {
	r.Sh(t, enabling+"\n"+warm+"systemctl enable -q --now "+storeUnits)
	directory := r.Sh(t, warmState)
	before := states(t, r)
	if strings.Count(before, "\n") != 4 {
		t.Fatalf("the services say %q", before)
	}
	var last lab.Kernel
	for i, kernel := range through(r.Parts.Newer, r.Parts.Older) {
		if last = r.Parts.Newer; kernel.Release == last.Release {
			last = r.Parts.Older
		}
		// A restart on the same kernel is systemd's business, and changes nothing.
		r.Sh(t, "systemctl restart "+storeUnits)
		if now := states(t, r); now != before {
			t.Fatalf("after a restart: %q, want %q", now, before)
		}
		check(t, r.Update(t.Context(), kernel))
		if now := states(t, r); now != before {
			t.Fatalf("after update %d: %q, want %q", i+1, now, before)
		}
		if now := r.Sh(t, warmState); now != directory {
			t.Errorf("after update %d the directory is %q, and was %q", i+1, now, directory)
		}
		// luod lets go of what is in the stores again, and each is there once.
		r.Sh(t, `for i in $(seq 100); do [ "$(luoctl list --json | tr -d ' \n')" = '[]' ] && break; sleep 0.1; done; luoctl list | grep -q '^No file' && [ "$(systemctl show -P NFileDescriptorStore store-c)$(systemctl show -P NFileDescriptorStore store-python)$(systemctl show -P NFileDescriptorStore store-shell)$(systemctl show -P NFileDescriptorStore store-sandbox)" = 1211 ]`)
		settled(t, r, uint64(i+1))
		// What PID 1 carries is accounted for, too.
		report := r.Sh(t, "luoctl report")
		native, _ := strconv.Atoi(strings.SplitN(r.Boot.Systemd, ".", 2)[0])
		if byPID1 := strings.Count(report, "preserved by PID 1"); strings.Contains(report, "lost:") || byPID1 != map[bool]int{true: 1}[native >= 261] {
			t.Errorf("the report says:\n%s", report)
		}
	}
	// A start that fails costs nothing: the next one gets the memory. PID 1 turns the
	// order of each store around when it reads its files again, so it does so twice.
	r.Sh(t, "mkdir -p /etc/systemd/system/store-c.service.d; printf '[Service]\nExecStartPre=test ! -e /var/lib/fail\n' > /etc/systemd/system/store-c.service.d/60-fail.conf; touch /var/lib/fail; systemctl daemon-reload; systemctl daemon-reload")
	// Nor does it cost a unit what it has that it is renamed, nor that it stores all it
	// has when it is stopped.
	r.Sh(t, "luoctl enable --fd-store-preserve late; systemctl enable -q --now late; "+rename)
	check(t, r.Update(t.Context(), last))
	r.Sh(t, "for i in $(seq 100); do systemctl is-failed -q store-c && break; sleep 0.1; done; systemctl is-failed -q store-c && rm /var/lib/fail && systemctl start store-c")
	const now = "for u in store-c store-python store-sandbox shell-renamed late; do for i in $(seq 100); do systemctl is-active -q $u && break; sleep 0.1; done; systemctl is-active -q $u || exit 1; done; cat /run/store-*/state /run/shell-renamed/state /run/late/state"
	if got, want := r.Sh(t, now), before+"1 1\n"; got != want {
		t.Fatalf("got %q, want %q", got, want)
	}
	r.Sh(t, "systemctl restart late; grep -qx '1 2' /run/late/state")
}

// rename gives store-shell another name just before the jump, as an upgrade may.
const rename = `mkdir -p /etc/luod/hooks.d; cat > /etc/luod/hooks.d/50-rename <<'E'
#!/bin/sh -e
[ "$1" = commit ] || exit 0
cd /etc/systemd/system
mv store-shell.service shell-renamed.service
mv store-shell.service.d shell-renamed.service.d
printf '[X-LiveUpdate]\nAliases=store-shell.service\n' > shell-renamed.service.d/70-before.conf
rm multi-user.target.wants/store-shell.service
ln -s ../shell-renamed.service multi-user.target.wants/
E
chmod +x /etc/luod/hooks.d/50-rename`
