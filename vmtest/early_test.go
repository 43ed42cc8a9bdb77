package vmtest

import (
	"slices"
	"strings"
	"testing"

	"github.com/liveupdate/luod/vmtest/lab"
	"github.com/liveupdate/luod/vmtest/rig"
)

// active lists the units that run when the machine has nothing left to start, but
// for those of the update itself and of the moment.
func active(t *testing.T, r *rig.Rig) []string {
	t.Helper()
	text := r.Sh(t, `for i in $(seq 300); do systemctl is-system-running --quiet && break; [ "$(systemctl is-system-running)" = degraded ] && break; sleep 0.1; done
systemctl list-units --state=active --no-legend --plain --type=service,socket,target,timer,path,mount | awk '{print $1}'`)
	var units []string
	for unit := range strings.FieldsSeq(text) {
		if !slices.Contains([]string{"luod-restore.target", "luod-live-update.service"}, unit) && !strings.HasPrefix(unit, "run-user-") && !strings.HasPrefix(unit, "user@") {
			units = append(units, unit)
		}
	}
	slices.Sort(units)
	return units
}

// A service that is enabled to start early has its memory before everything else,
// and in the end the same runs as after an ordinary boot.
func TestRestoreFirst(t *testing.T) {
	r := start(t, lab.Trixie, false, 0)
	if text := r.Sh(t, "luoctl enable --early store-c store-python; systemctl enable -q --now "+storeUnits+" plain"); strings.Contains(text, "Warning") {
		t.Errorf("luoctl warns: %s", text)
	}
	ordinary := active(t, r)
	before := states(t, r)
	for i, kernel := range through(r.Parts.Newer, r.Parts.Older) {
		check(t, r.Update(t.Context(), kernel))
		if line := r.Sh(t, "cat /proc/cmdline"); strings.Count(line, "systemd.unit=luod-restore.target") != 1 {
			t.Errorf("the command line is %q", line)
		}
		now := states(t, r)
		if strings.Split(now, "\n")[0] != strings.Split(before, "\n")[0] || strings.Split(now, "\n")[1] != strings.Split(before, "\n")[1] {
			t.Fatalf("after update %d: %q, want %q", i+1, now, before)
		}
		after := active(t, r)
		for _, unit := range ordinary {
			if !slices.Contains(after, unit) {
				t.Errorf("%s does not run", unit)
			}
		}
		for _, unit := range after {
			if !slices.Contains(ordinary, unit) {
				t.Errorf("%s runs, and does not after an ordinary boot", unit)
			}
		}
		// It came before everything else.
		order := r.Sh(t, "for u in store-c store-python sysinit.target basic.target multi-user.target; do echo $u $(systemctl show -P ActiveEnterTimestampMonotonic $u); done")
		at := map[string]string{}
		for line := range strings.Lines(order) {
			f := strings.Fields(line)
			at[f[0]] = strings.Repeat("0", 20-len(f[1])) + f[1]
		}
		if at["store-c"] >= at["sysinit.target"] || at["store-python"] >= at["sysinit.target"] {
			t.Errorf("not first: %s", order)
		}
		t.Logf("active at, in µs after the kernel's start:\n%s", order)
	}
	if text := r.Sh(t, "luoctl status; systemctl status luod-continue.service || true"); strings.Contains(text, "fail") {
		t.Errorf("something failed: %s", text)
	}
	if text := r.Sh(t, "journalctl -b -q -p err -u luod.service -u luod-continue.service"); strings.TrimSpace(text) != "" {
		t.Errorf("errors: %s", text)
	}
}

// An early service that hangs keeps the rest of the system waiting for 10 s, and no
// longer.
func TestAnEarlyServiceThatHangsIsNotWaitedForLong(t *testing.T) {
	repeats(t)
	r := start(t, lab.Trixie, false, 0)
	r.Sh(t, "luoctl enable --early store-c store-python; systemctl enable -q --now "+storeUnits)
	before := states(t, r)
	r.Sh(t, "mkdir -p /etc/systemd/system/store-c.service.d; printf '[Service]\nExecStartPre=sleep 30\n' > /etc/systemd/system/store-c.service.d/60-slow.conf; systemctl daemon-reload; systemctl daemon-reload")
	check(t, r.Update(t.Context(), r.Parts.Newer))
	r.Sh(t, "systemctl is-active -q multi-user.target || for i in $(seq 100); do systemctl is-active -q multi-user.target && break; sleep 0.1; done; systemctl is-active -q multi-user.target && ! systemctl is-active -q store-c")
	r.Sh(t, "for i in $(seq 400); do systemctl is-active -q store-c && break; sleep 0.1; done")
	early := func(states string) []string { return strings.Split(states, "\n")[:2] }
	if now := states(t, r); !slices.Equal(early(now), early(before)) {
		t.Fatalf("got %q, want %q", now, before)
	}
}
